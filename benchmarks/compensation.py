"""What each part of the compensation takes off a layer's output error, at the dense model's inputs.

    python -m benchmarks.compensation --removed 2

For in_proj and out_proj of some layers, weights in float32: the magnitude mask alone; the same mask
with the kept weights refitted; the sweeps of SparseGPT and of ours; ours with the refit, and with
masks chosen again. Errors are ``||(W - W') X||^2 / ||W X||^2``, averages over the layers; the
channels are in their own order. Kept in benchmarks/results/compensation.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.cli.console import print_table
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS, MambaConfig
from tvm_c4n.model.text import load_tokenizer
from tvm_c4n.pruning.calibration.statistics import gram
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.calibration.torch_mamba import Layer
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.method.compensate import refit, reselect, sweep_joint, sweep_sparsegpt
from tvm_c4n.pruning.method.criteria import keep_best, magnitude_scores, wanda_scores
from tvm_c4n.pruning.method.hessian import damped, inverse_factor
from tvm_c4n.pruning.method.matrix import RESELECTIONS, relative_output_error
from tvm_c4n.pruning.recipe import PRUNED_BY_DEFAULT, Recipe

RESULTS = Path(__file__).parent / "results" / "compensation.json"


class Projection(NamedTuple):
    """One weight (rows, cols) and the statistics (cols, cols) of what the dense model feeds it."""

    layer: int
    name: str
    weight: Tensor
    statistics: Tensor


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mamba-19m")
    parser.add_argument("--layers", default="1,4,7,10,13")
    parser.add_argument("--removed", type=int, default=2)
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    args = parser.parse_args()
    layers = [int(index) for index in args.layers.split(",")]
    with torch.no_grad():
        rows = [
            {"layer": one.layer, "projection": one.name, "removed": args.removed}
            | {"samples": args.samples, "errors": errors_of(one, args.removed)}
            for one in dense_inputs(args.model, layers, args.samples)
        ]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    lines = []
    for part in rows[0]["errors"]:
        line = [part]
        for kind in PRUNED_BY_DEFAULT:
            own = [row["errors"] for row in rows if row["projection"] == kind]
            error = fmean(errors[part] for errors in own)
            base = fmean(errors["magnitude mask"] for errors in own)
            line += [f"{error:.4f}", f"{100 * (1 - error / base):.1f} %"]
        lines.append(line)
    head = ["", *(text for kind in PRUNED_BY_DEFAULT for text in (kind, "taken off"))]
    print_table(f"relative output error, n={args.removed}, {len(layers)} layers", head, lines)
    return 0


def dense_inputs(model: str, layers: list[int], samples: int) -> Iterator[Projection]:
    """Walk through a dense model and stop at in_proj and out_proj of some layers."""
    checkpoint = open_checkpoint(model)
    config = MambaConfig.from_hf(checkpoint.config)
    recipe = Recipe(samples=samples)
    windows = torch.from_numpy(draw_windows(load_tokenizer(checkpoint.path), recipe))
    embeddings = torch.from_numpy(checkpoint.dense(EMBEDDINGS))
    streams = [Stream(embeddings[batch]) for batch in batches(windows)]
    for index in range(max(layers) + 1):
        layer = Layer.load(checkpoint, config, index)
        for stream in streams:
            stream.enter(layer)
        for name in PROJECTIONS:
            if index in layers and name in PRUNED_BY_DEFAULT:
                statistics = gram(stream.inputs for stream in streams)
                yield Projection(index, name, layer.projections[name], statistics)
            for stream in streams:
                stream.pass_through(layer, name)


def errors_of(one: Projection, removed: int) -> dict[str, float]:
    """Return the error after each part, in the order in which they build on each other."""
    weight, statistics = one.weight, one.statistics
    hessian = damped(statistics, Recipe().dampening_frac)
    factor = inverse_factor(hessian).to(weight.dtype)
    mask = keep_best(magnitude_scores(weight), removed)
    wanda = keep_best(wanda_scores(weight, statistics), removed)
    found = {
        "magnitude mask": weight * mask,
        "magnitude mask, refitted": refit(weight, hessian, mask, weight * mask),
        "Wanda's mask": weight * wanda,
        "Wanda's mask, refitted": refit(weight, hessian, wanda, weight * wanda),
        "SparseGPT's sweep": sweep_sparsegpt(weight, factor, removed)[0],
    }
    current, mask = sweep_joint(weight, factor, removed)
    found["joint sweep"] = current
    current = refit(weight, hessian, mask, current)
    found["joint sweep, refitted"] = current
    for _ in range(RESELECTIONS):
        current, mask = reselect(weight, hessian, current, removed)
        current = refit(weight, hessian, mask, current)
    found["and masks chosen again"] = current
    return {part: relative_output_error(weight, w, statistics) for part, w in found.items()}


if __name__ == "__main__":
    sys.exit(main())
