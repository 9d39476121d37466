"""Does a low-rank int8 adapter pay for its bytes? Beside a smaller n, at the same bytes.

    python -m benchmarks.adapter --layers 2,8,13

A pruned weight misses W - W' of the dense one. The best rank r correction in the metric of the
inputs is the truncated singular value decomposition of (W - W') H^1/2, and what it takes away is
the sum of the first r squared singular values. Given as many bytes as storing one weight less of
every 4 removed would cost, this prints the relative output error of: n as it is; n with an adapter
of that many bytes; the same after fitting the kept weights and the adapter in turns; n - 1.
Adapters are counted as int8 without scales and not rounded, in favour of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.compensation import dense_inputs
from tvm_c4n.cli.console import print_table
from tvm_c4n.pruning.method.hessian import damped
from tvm_c4n.pruning.method.matrix import prune_matrix, relative_output_error
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.sparsity.stats import size_bytes

RESULTS = Path(__file__).parent / "results" / "adapter.json"
TURNS = 3


def main() -> int:
    """Measure some layers of the dense model, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mamba-19m")
    parser.add_argument("--layers", default="2,8,13")
    parser.add_argument("--samples", type=int, default=32, help="calibration windows")
    args = parser.parse_args()
    with torch.no_grad():
        rows = measure(args.model, [int(i) for i in args.layers.split(",")], args.samples)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    kinds = sorted({(row["projection"], row["removed"]) for row in rows})
    names = ("rank", "pruned", "adapter", "in_turns", "fewer_removed")
    lines = []
    for projection, removed in kinds:
        own = [r for r in rows if (r["projection"], r["removed"]) == (projection, removed)]
        means = [fmean(row[name] for row in own) for name in names]
        lines.append(
            [f"{projection} n={removed}", f"{means[0]:.0f}", *(f"{m:.4f}" for m in means[1:])]
        )
    head = ["", "rank", "n", "n + adapter", "in turns", "n - 1"]
    print_table("relative output error, int8, at the bytes of n - 1", head, lines)
    return 0


def measure(model: str, layers: list[int], samples: int) -> list[dict[str, Any]]:
    """Prune in_proj and out_proj of some layers of the dense model."""
    return [
        {"layer": one.layer, "projection": one.name, "removed": removed}
        | compare(one.weight, one.statistics, removed)
        for one in dense_inputs(model, layers, samples)
        for removed in (2, 3)
    ]


def compare(weight: Tensor, statistics: Tensor, removed: int) -> dict[str, float]:
    """Spend the bytes between n and n - 1 in both ways; returns relative output errors."""
    height, width = weight.shape
    sizes = [size_bytes(height, width, n, "int8", 64) for n in (removed - 1, removed)]
    rank = (sizes[0] - sizes[1]) // (height + width)
    fewer = prune_matrix(weight, statistics, Choice(removed - 1, "int8"))
    pruned = prune_matrix(weight, statistics, Choice(removed, "int8"))
    root, inverse = _roots(damped(statistics, 0.01))
    stored = torch.from_numpy(pruned.weight.dense())
    adapter = truncated(weight - stored, root, inverse, rank)
    once = relative_output_error(weight, stored + adapter, statistics)
    for _ in range(TURNS):
        again = prune_matrix(weight - adapter, statistics, Choice(removed, "int8"))
        stored = torch.from_numpy(again.weight.dense())
        adapter = truncated(weight - stored, root, inverse, rank)
    return {
        "rank": rank,
        "pruned": pruned.output_error,
        "adapter": once,
        "in_turns": relative_output_error(weight, stored + adapter, statistics),
        "fewer_removed": fewer.output_error,
    }


def truncated(missing: Tensor, root: Tensor, inverse: Tensor, rank: int) -> Tensor:
    """Return the best correction of that rank for what is missing, in the metric of the inputs."""
    left, values, right = torch.linalg.svd(missing.double() @ root, full_matrices=False)
    kept = (left[:, :rank] * values[:rank]) @ right[:rank]
    return (kept @ inverse).to(missing.dtype)


def _roots(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a positive definite matrix and its inverse, in float64."""
    values, vectors = torch.linalg.eigh(hessian.double())
    values = values.clamp_min(values[-1] * 1e-12).sqrt()
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


if __name__ == "__main__":
    sys.exit(main())
