"""Pruning methods compared at the same calibration, and what each step of ours brings.

    python -m benchmarks.pruning                        # every method, n = 1, 2, 3
    python -m benchmarks.pruning --removed 2 --dtypes float16,int8,int4
    python -m benchmarks.pruning --ablate               # method obs with one step less at a time
    python -m benchmarks.pruning --sparsity 0.3         # n chosen for each weight

Each row prunes the model from the start and measures the perplexity of the pruned model, in torch,
on windows of the embedded text that calibration never sees. Finished rows go to benchmarks/results/
at once; a second call measures only what is missing there (`--again`: everything).
"""

from __future__ import annotations

import argparse
import json
import sys
from math import exp, log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tvm_c4n.cli.console import Steps, print_table
from tvm_c4n.errors import C4nError
from tvm_c4n.model.config import PROJECTIONS

RESULTS = Path(__file__).parent / "results" / "pruning.json"
METHODS = ("magnitude", "wanda", "sparsegpt", "obs")
Row = dict[str, Any]


def main() -> int:
    """Measure and print; returns the exit code."""
    args = parse()
    try:
        bench = Bench(args)
        rows = [bench.row(**case) for case in cases(args)]
    except KeyboardInterrupt:
        return 130
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    show(bench.dense, rows, args)
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ablate", action="store_true", help="leave out one step at a time")
    parser.add_argument("--model", default="mamba-19m")
    parser.add_argument("--removed", default="", help="1,2,3; with --ablate: 2")
    parser.add_argument("--sparsity", type=float, help="allocate n to remove this share")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--dtypes", default="int8", help="float16,int8,int4")
    parser.add_argument("--samples", type=int, default=128, help="calibration windows")
    parser.add_argument(
        "--windows", type=int, default=32, help="windows of 1024 tokens to judge by"
    )
    parser.add_argument("--again", action="store_true", help="measure finished rows again")
    return parser.parse_args()


def cases(args: argparse.Namespace) -> list[Row]:
    """List what to prune."""
    from tvm_c4n.prune.recipe import STEPS

    if args.sparsity is not None:
        target = {"sparsity": args.sparsity, "method": "obs", "without": ()}
        return [target | {"dtype": dtype} for dtype in args.dtypes.split(",")]
    numbers = [int(n) for n in (args.removed or ("2" if args.ablate else "1,2,3")).split(",")]
    kinds = [(n, dtype) for n in numbers for dtype in args.dtypes.split(",")]
    variants: list[tuple[str, tuple[str, ...]]] = [(m, ()) for m in args.methods.split(",")]
    if args.ablate:
        variants = [("obs", ()), *(("obs", (step,)) for step in STEPS), ("obs", STEPS)]
    return [
        {"removed": n, "dtype": dtype, "method": method, "without": without}
        for n, dtype in kinds
        for method, without in variants
    ]


class Bench:
    """Prunes and measures; remembers what was measured before."""

    def __init__(self, args: argparse.Namespace) -> None:
        from tvm_c4n.assets import VALID_TEXT
        from tvm_c4n.checkpoint import open_checkpoint
        from tvm_c4n.model.text import load_text_ids, load_tokenizer

        self.args = args
        source = open_checkpoint(args.model)
        self.ids = load_text_ids(VALID_TEXT, load_tokenizer(source.path))
        key = {"model": args.model, "samples": args.samples, "windows": args.windows}
        self.key = key
        self.dense = self._remembered({"method": "dense"}) or self._keep(
            {"method": "dense", "ppl": self.perplexity(args.model)}
        )

    def row(self, **case: Any) -> Row:
        """Prune one way and measure, unless that was done before."""
        case["without"] = list(case["without"])
        found = None if self.args.again else self._remembered(case)
        return found or self._keep(case | self._measure(case))

    def _measure(self, case: Row) -> Row:
        from tvm_c4n.prune import Recipe
        from tvm_c4n.prune.run import prune
        from tvm_c4n.prune.target import Target

        fields = {key: value for key, value in case.items() if key != "sparsity"}
        recipe = Recipe(**fields, samples=self.args.samples)
        target = Target("sparsity", case["sparsity"]) if "sparsity" in case else None
        title = " ".join(str(v) for v in case.values() if v)
        with TemporaryDirectory() as folder, Steps(title) as steps:
            out = f"{folder}/out"
            report = prune(self.args.model, out, recipe, target=target, progress=steps, twin=False)
            ppl = self.perplexity(out)
        errors = {p: report.mean_error(p) for p in ("in_proj", "out_proj")}
        masked = {p: report.mean_error(p, "masked_error") for p in ("in_proj", "out_proj")}
        return {
            "ppl": ppl,
            "output_error": errors,
            "masked_error": masked,
            "packed_bytes": report.packed_bytes,
            "removed_by_layer": {
                p: [row.removed for row in report.projections if row.projection == p]
                for p in PROJECTIONS
            },
            "run_secs": report.run_secs,
        }

    def perplexity(self, model: str) -> float:
        """Measure the perplexity of a model folder in torch."""
        from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
        from tvm_c4n.evaluate import perplexity
        from tvm_c4n.prune.torch_mamba import logits

        source = open_checkpoint(model)
        tensors = {name: source.dense(name) for name in source.names()}
        loaded = ArrayCheckpoint(source.config, tensors)
        found = perplexity(
            lambda ids: logits(loaded, ids[None])[0].numpy(),
            self.ids,
            max_windows=self.args.windows,
        )
        return found.value

    def _remembered(self, case: Row) -> Row | None:
        wanted = self.key | case
        return next((r for r in saved() if all(r.get(k) == v for k, v in wanted.items())), None)

    def _keep(self, row: Row) -> Row:
        row = self.key | row
        old = {
            k: row[k]
            for k in (*self.key, "sparsity", "removed", "dtype", "method", "without")
            if k in row
        }
        rows = [r for r in saved() if any(r.get(k) != v for k, v in old.items())]
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")
        return row


def saved() -> list[Row]:
    """Read the rows of earlier calls."""
    rows: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    return rows


def show(dense: Row, rows: list[Row], args: argparse.Namespace) -> None:
    """Print the table. ``log`` is the excess: log(perplexity / dense perplexity)."""
    head = ["n dtype", "method", "ratio", "log", "of SparseGPT's", "in_proj", "out_proj", "MB", "s"]
    by_case = {(_pattern(r), r["dtype"], r["method"], tuple(r["without"])): r for r in rows}
    lines = []
    for row in rows:
        excess = log(row["ppl"] / dense["ppl"])
        peer = by_case.get((_pattern(row), row["dtype"], "sparsegpt", ()))
        share = f"{excess / log(peer['ppl'] / dense['ppl']):.3f}" if peer else ""
        name = row["method"]
        if row["without"]:
            several = len(row["without"]) > 1
            name = "none of the steps" if several else f"without {row['without'][0]}"
        errors = (f"{row['output_error'][p]:.4f}" for p in ("in_proj", "out_proj"))
        lines.append(
            [
                f"{_pattern(row)} {row['dtype']}",
                name,
                f"{exp(excess):.4f}",
                f"{excess:.4f}",
                share,
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
    return str(row["removed"]) if "removed" in row else f"{100 * row['sparsity']:g} %"


if __name__ == "__main__":
    sys.exit(main())
