"""Pruning methods compared at the same calibration, and what each step of ours brings.

    python -m benchmarks.pruning                        # every method, n = 1, 2, 3
    python -m benchmarks.pruning --removed 0,1,2,3 --methods obs --dtypes float16,int8,int4
    python -m benchmarks.pruning --ablate               # method obs with one step less at a time
    python -m benchmarks.pruning --sparsity 0.25,0.3,0.5    # n by weight: exact, greedy, uniform
    python -m benchmarks.pruning --show ...             # prints what is there, measures nothing

Each row prunes the model from the start and measures the perplexity of the pruned model, in torch,
on windows of the embedded text that calibration never sees. Finished rows go to benchmarks/results/
at once; a second call measures only what is missing there (`--again`: everything), so that it can
be stopped at any time. `--jobs 8` measures eight rows at a time, on an eighth of the cores each.
Needs torch, scipy, safetensors, tokenizers and pydantic; not TVM.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import exp, log
from typing import Any

from benchmarks.prune_rows import Row, keep, measure, remembered
from tvm_c4n.cli.console import print_table
from tvm_c4n.errors import C4nError

METHODS = ("magnitude", "wanda", "sparsegpt", "obs")
ALLOCATIONS = ("exact", "greedy", "uniform")


def main() -> int:
    """Measure and print; returns the exit code."""
    args = parse()
    todo = cases(args)
    try:
        if not args.show:
            run_missing(todo, args)
    except KeyboardInterrupt:
        return 130
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    show(todo, args)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ablate", action="store_true", help="leave out one step at a time")
    parser.add_argument("--model", default="mamba-19m")
    parser.add_argument("--removed", default="", help="0,1,2,3; with --ablate: 2")
    parser.add_argument("--sparsity", default="", help="allocate n to remove these shares")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--dtypes", default="int8", help="float16,int8,int4")
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    parser.add_argument("--tokens", type=int, default=None, help="tokens of each [the recipe's]")
    parser.add_argument(
        "--windows", type=int, default=32, help="windows of 1024 tokens to judge by"
    )
    parser.add_argument("--jobs", type=int, default=1, help="rows measured at the same time")
    parser.add_argument("--again", action="store_true", help="measure finished rows again")
    parser.add_argument("--show", action="store_true", help="print finished rows only")
    return parser.parse_args()


def cases(args: argparse.Namespace) -> list[Row]:
    """List what to prune and judge, the dense model first."""
    from tvm_c4n.pruning.recipe import ABLATIONS, Recipe

    tokens = args.tokens or Recipe().sample_tokens
    judged = {"model": args.model, "windows": args.windows}
    common = judged | {"samples": args.samples, "sample_tokens": tokens}
    dtypes = args.dtypes.split(",")
    found: list[dict[str, Any]] = []
    if args.sparsity:
        for share in map(float, args.sparsity.split(",")):
            found += [
                {"sparsity": share, "allocation": how, "method": "obs", "dtype": d, "without": []}
                for d in dtypes
                for how in (ALLOCATIONS if share in (0.25, 0.5, 0.75) else ALLOCATIONS[:2])
            ]
    else:
        variants: list[tuple[str, list[str]]] = [(m, []) for m in args.methods.split(",")]
        if args.ablate:
            variants = [
                ("obs", []),
                *(("obs", [step]) for step in ABLATIONS),
                ("obs", list(ABLATIONS)),
            ]
        found = [
            {"removed": n, "method": method, "dtype": d, "without": without}
            for n in map(int, (args.removed or ("2" if args.ablate else "1,2,3")).split(","))
            for d in dtypes
            for method, without in variants
        ]
    return [judged | {"method": "dense"}, *(common | case for case in found)]


def run_missing(todo: list[Row], args: argparse.Namespace) -> None:
    """Measure what is not kept yet."""
    missing = [case for case in todo if args.again or remembered(case) is None]
    if args.jobs == 1:
        for case in missing:
            keep(measure(case))
        return
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(args.jobs, mp_context=spawn) as pool:
        for future in as_completed([pool.submit(measure, case, threads) for case in missing]):
            row = keep(future.result())
            print(f"{_pattern(row)} {_variant(row)}: {row['ppl']:.3f}", file=sys.stderr, flush=True)


def show(todo: list[Row], args: argparse.Namespace) -> None:
    """Print the table. ``log`` is the excess: log(perplexity / dense perplexity)."""
    dense, *rows = [row for case in todo if (row := remembered(case))]
    head = ["n dtype", "method", "ratio", "log", "of SparseGPT's", "in_proj", "out_proj"]
    head += ["mask alone", "mask alone", "MB", "s"]
    peers = {
        (row["removed"], row["dtype"]): log(row["ppl"] / dense["ppl"])
        for row in rows
        if row["method"] == "sparsegpt"
    }
    lines = []
    for row in rows:
        excess = log(row["ppl"] / dense["ppl"])
        peer = peers.get((row.get("removed"), row["dtype"]))
        errors = [f"{row['output_error'][p]:.4f}" for p in ("in_proj", "out_proj")]
        errors += [f"{row['masked_error'][p]:.4f}" for p in ("in_proj", "out_proj")]
        lines.append(
            [
                f"{_pattern(row)} {row['dtype']}",
                _variant(row),
                f"{exp(excess):.4f}",
                f"{excess:.4f}",
                f"{excess / peer:.3f}" if peer else "",
                *errors,
                f"{row['packed_bytes'] / 1e6:.2f}",
                f"{row['run_secs']:.0f}",
            ]
        )
    title = (
        f"{args.model}: dense perplexity {dense['ppl']:.3f} on {args.windows} windows of 1024; "
        f"{args.samples} calibration windows"
    )
    print_table(title, head, lines)


def _pattern(row: Row) -> str:
    if row["method"] == "dense":
        return "-"
    return str(row["removed"]) if "removed" in row else f"{100 * row['sparsity']:g} %"


def _variant(row: Row) -> str:
    without = row.get("without", [])
    if len(without) > 1:
        return "none of the steps"
    if without:
        return f"without {without[0]}"
    return str(row.get("allocation", row["method"]))


if __name__ == "__main__":
    sys.exit(main())
