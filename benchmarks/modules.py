"""Modules in which nothing of ours is needed, timed against TVM's own builds.

``tvm`` is `relax.build` as it is, ``fused`` is `relax.get_default_pipeline` of the target, which
folds constants and fuses operators; the ratio is our median over the smaller of their medians.

Needs the extra [dev]: the modules are those of tests/zoo.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.options import Save
from benchmarks.report import markdown
from benchmarks.results import place, write_result
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.target import resolve_target

VARIANTS = ("tvm", "fused", "ours")
# Times that a module is loaded anew: the place of its weights in memory has an effect, too.
LOADS = 5
# Every load takes rounds for this long, and at least so many.
BUDGET_SECS, ROUNDS = 0.4, 6

Names = Annotated[list[str] | None, typer.Argument(help="Modules [all].")]


def any_module(names: Names = None, save: Save = False) -> None:
    """Time modules in which nothing is sparse against TVM's own builds."""
    from tests.zoo import ZOO

    summary = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ZOO:
            case = ZOO[name](0, True)
            rounds = time_case(case.mod, case.inputs, Path(folder))
            summary[name] = {variant: _summary(samples) for variant, samples in rounds.items()}
            print(name, {variant: found["p50"] for variant, found in summary[name].items()}, "ms")
    write_result(place("any-module.json", save), {"millis": summary})
    print(times_table(summary))


def build_variant(mod: IRModule, variant: str, target: Target) -> relax.VMExecutable:
    """Compile a module in one of the `VARIANTS`."""
    if variant == "ours":
        return build(mod, target)
    if variant == "tvm":
        return relax.build(mod, target)
    return relax.build(mod, target, relax_pipeline=relax.get_default_pipeline(target))


def time_case(mod: IRModule, inputs: list[Any], folder: Path) -> dict[str, list[float]]:
    """Compile a module in all variants and run them interleaved; returns seconds of each round."""
    target = resolve_target("host")
    for variant in VARIANTS:
        build_variant(mod, variant, target).export_library(str(folder / f"{variant}.so"))
    tensors = [tvm.runtime.tensor(array) for array in inputs]
    rounds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(LOADS):
        calls = {}
        for variant in VARIANTS:
            library = tvm.runtime.load_module(str(folder / f"{variant}.so"))
            calls[variant] = relax.VirtualMachine(library, tvm.cpu())["main"]
            calls[variant](*tensors)
        end, number = time.perf_counter() + BUDGET_SECS, 0
        while time.perf_counter() < end or number < ROUNDS:
            first = number % len(VARIANTS)
            for variant in (*VARIANTS[first:], *VARIANTS[:first]):  # each follows each other one
                start = time.perf_counter()
                calls[variant](*tensors)
                rounds[variant].append(time.perf_counter() - start)
            number += 1
    return rounds


def _summary(samples: list[float]) -> dict[str, float]:
    millis = np.asarray(samples) * 1e3
    quartiles = {f"p{p}": round(float(np.percentile(millis, p)), 4) for p in (0, 25, 50, 75, 100)}
    return {"rounds": len(samples), **quartiles}


def times_table(summary: dict[str, dict[str, dict[str, float]]]) -> str:
    """Lay out medians in milliseconds and the ratio to the better of TVM's."""
    rows = []
    for name, variants in summary.items():
        medians = [variants[variant]["p50"] for variant in VARIANTS]
        ratio = medians[2] / min(medians[:2])
        rows.append([name, *(f"{value:.3f}" for value in medians), f"{ratio:.2f}"])
    return markdown(["module", *(f"{v} ms" for v in VARIANTS), "ours / best"], rows)
