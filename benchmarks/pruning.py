"""Pruning methods compared with the same calibration, and what each step of ours adds.

Each row prunes the model from the start and measures the perplexity of the pruned model, in torch,
on windows of the bundled text that calibration never sees. Finished rows are saved at once, and a
second call measures only what is missing: it can be stopped at any time. Needs torch, not TVM.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import exp, log
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.options import numbers, words
from benchmarks.prune_case import Row, case_of, measure
from benchmarks.results import newest, write_result
from tvm_c4n.cli.console import print_table

METHODS = ("magnitude", "wanda", "sparsegpt", "obs")
ALLOCATIONS = ("exact", "greedy", "uniform")


def pruning(
    ablate: Annotated[bool, typer.Option("--ablate", help="Leave out one step at a time.")] = False,
    model: str = "mamba-19m",
    removed: Annotated[str, typer.Option(help="0,1,2,3 [1,2,3; with --ablate: 2].")] = "",
    sparsity: Annotated[str, typer.Option(help="Allocate n to remove these shares.")] = "",
    size: Annotated[str, typer.Option(help="Choose n and dtypes for these sizes, in MB.")] = "",
    methods: Annotated[str, typer.Option(help=f"{','.join(METHODS)} [all; of shares: obs].")] = "",
    dtypes: Annotated[str, typer.Option(help="float16,int8,int4.")] = "int8",
    samples: Annotated[int, typer.Option(help="Calibration windows.")] = 128,
    tokens: Annotated[int, typer.Option(help="Tokens of each; 0: the recipe's.")] = 0,
    repair: Annotated[int, typer.Option(help="Windows that layers are trained on.")] = 0,
    seed: Annotated[int, typer.Option(help="Draws calibration windows.")] = 0,
    scale_group: Annotated[int, typer.Option(help="Columns of a scale; 0: the default.")] = 0,
    windows: Annotated[int, typer.Option(help="Validation windows of 1024 tokens.")] = 32,
    text: Annotated[list[Path] | None, typer.Option(help="Texts to judge too, whole.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    jobs: Annotated[int, typer.Option(help="Rows measured at the same time.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Measure finished rows again.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print finished rows only.")] = False,
    out: Annotated[Path | None, typer.Option(help="File of the rows [the newest].")] = None,
) -> None:
    """Compare pruning methods, ablations or allocations by perplexity."""
    from tvm_c4n.pruning.recipe import Recipe

    common = {"samples": samples, "sample_tokens": tokens or Recipe().sample_tokens}
    given = {"repair": repair, "seed": seed, "scale_group": scale_group}
    common |= {name: value for name, value in given.items() if value}
    todo = [{"model": model, "windows": windows, "method": "dense"}]
    if size:
        found = size_cases(size)
    elif sparsity:
        found = allocation_cases(sparsity, words(methods) or ["obs"], words(dtypes))
    else:
        found = method_cases(removed, words(methods) or list(METHODS), words(dtypes), ablate)
    todo += [{"model": model, "windows": windows, **common, **case} for case in found]
    table = RowFile(out or newest("pruning.json"))
    if not show:
        missing = [case for case in todo if again or table.find(case) is None]
        run_missing(missing, table, jobs, {"device": device, "texts": text or []})
    print_rows(todo, table, f"{model}, {windows} windows of 1024; {samples} calibration windows")


def size_cases(sizes: str) -> list[dict[str, Any]]:
    """List sizes to prune to: each is a mixture of n and dtypes, the embeddings' too."""
    return [{"megabytes": size, "method": "obs"} for size in map(float, words(sizes))]


def allocation_cases(sparsity: str, methods: list[str], dtypes: list[str]) -> list[dict[str, Any]]:
    """List allocations for some shares; a uniform one exists for quarters only."""
    return [
        {"sparsity": share, "allocation": how, "method": method, "dtype": dtype, "without": []}
        | {"rotate": method == "obs"}
        for share in map(float, words(sparsity))
        for dtype in dtypes
        for method in methods
        for how in (ALLOCATIONS if share in (0.25, 0.5, 0.75) else ALLOCATIONS[:2])
        if method == "obs" or how == "exact"  # others are compared at their best
    ]


def method_cases(
    removed: str, methods: list[str], dtypes: list[str], ablate: bool
) -> list[dict[str, Any]]:
    """List methods, or method obs whole, without each of its steps, and without all of them."""
    from tvm_c4n.pruning.recipe import ABLATIONS

    variants = [(method, list[str](), method == "obs") for method in methods]
    if ablate:
        steps = (("obs", [step], True) for step in ABLATIONS)
        variants = [("obs", [], True), ("obs", [], False), *steps, ("obs", list(ABLATIONS), False)]
    return [
        {"removed": n, "method": method, "dtype": dtype, "without": without}
        | {"rotate": turns and n > 0}
        for n in numbers(removed or ("2" if ablate else "1,2,3"))
        for dtype in dtypes
        for method, without, turns in variants
    ]


class RowFile:
    """Rows of all cases in a JSON file; a row takes the place of the older one of its case."""

    def __init__(self, file: Path):
        self.file = file

    def rows(self) -> list[Row]:
        """Read the rows of earlier calls."""
        if not self.file.is_file():
            return []
        rows: list[Row] = json.loads(self.file.read_text("utf-8"))["rows"]
        return rows

    def find(self, case: Row) -> Row | None:
        """Return the row of a case if there is one."""
        return next((row for row in self.rows() if case_of(row) == case_of(case)), None)

    def keep(self, row: Row) -> Row:
        """Add a row; other processes wait meanwhile."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"/tmp/{self.file.name}.{os.getuid()}.lock").open("w") as lock:  # noqa: S108
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = [old for old in self.rows() if case_of(old) != case_of(row)]
            rows = sorted([*rows, row], key=lambda r: json.dumps(case_of(r), sort_keys=True))
            write_result(self.file, {"rows": rows})
        return row


def run_missing(missing: list[Row], table: RowFile, jobs: int, how: dict[str, Any]) -> None:
    """Measure and keep cases; ``how``: other arguments of `measure`."""
    if jobs == 1:
        for case in missing:
            table.keep(measure(case, **how))
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        for future in as_completed(
            [pool.submit(measure, case, threads, **how) for case in missing]
        ):
            row = table.keep(future.result())
            print(f"{_pattern(row)} {_variant(row)}: {row['ppl']:.3f}", file=sys.stderr, flush=True)


def print_rows(todo: list[Row], table: RowFile, title: str) -> None:
    """Print the table. ``log`` is the excess: log(perplexity / dense perplexity)."""
    found = [row for case in todo if (row := table.find(case))]
    if not found or found[0]["method"] != "dense":
        print("no finished row of the dense model", file=sys.stderr)
        return
    dense, *rows = found
    excess = {id(row): log(row["ppl"] / dense["ppl"]) for row in rows}
    sparsegpt = {
        (_pattern(row), _dtype(row)): excess[id(row)]
        for row in rows
        if row["method"] == "sparsegpt"
    }
    head = ["n dtype", "method", "ratio", "log", "of SparseGPT's", "in_proj", "out_proj"]
    head += ["mask alone", "mask alone", "MB", "s"]
    lines = []
    for row in rows:
        own, peer = excess[id(row)], sparsegpt.get((_pattern(row), _dtype(row)))
        errors = [f"{row['output_error'][p]:.4f}" for p in ("in_proj", "out_proj")]
        errors += [f"{row['masked_error'][p]:.4f}" for p in ("in_proj", "out_proj")]
        line = [f"{_pattern(row)} {_dtype(row)}", _variant(row), f"{exp(own):.4f}", f"{own:.4f}"]
        line += [f"{own / peer:.3f}" if peer else "", *errors]
        lines.append([*line, f"{row['packed_bytes'] / 1e6:.2f}", f"{row['run_secs']:.0f}"])
    print_table(f"{title}; dense perplexity {dense['ppl']:.3f}", head, lines)


def _pattern(row: Row) -> str:
    if row["method"] == "dense":
        return "-"
    if "megabytes" in row:
        return f"{row['megabytes']:g} MB"
    return str(row["removed"]) if "removed" in row else f"{100 * row['sparsity']:g} %"


def _dtype(row: Row) -> str:
    return str(row.get("dtype", "mixture"))


def _variant(row: Row) -> str:
    without = row.get("without", [])
    if len(without) > 1:
        return "none of the steps"
    if without:
        return f"without {without[0]}"
    said = " ".join(str(row[k]) for k in ("method", "allocation") if k in row)
    turns = row["method"] == "obs" and "megabytes" not in row  # budgets of bytes do not rotate
    said += " unrotated" * (turns and not row.get("rotate"))
    said += f" repaired on {row['repair']}" if row.get("repair") else ""
    said += f" seed {row['seed']}" if row.get("seed") else ""
    return said + (f" scales of {row['scale_group']}" if row.get("scale_group") else "")
