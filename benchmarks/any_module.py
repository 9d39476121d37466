"""Times modules in which nothing is sparse against TVM's own builds: ours may not be slower.

    python -m benchmarks.any_module build DIR [NAME ...]    # compiles the zoo three ways, minutes
    python -m benchmarks.any_module time DIR [NAME ...]     # runs them in turns; prints a table

Only the whole zoo's times are written to ``results/``.

``tvm`` is `relax.build` as it is, ``fused`` is `relax.get_default_pipeline` of the target, which
folds constants and fuses operators. The ratio is our median by the smaller of their medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tests.zoo import ZOO
from tvm_c4n._tvm import Target, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.target import resolve_target

WAYS = ("tvm", "fused", "ours")
LOADS = 5
"""Times that a module is loaded anew: where its weights come to lie in memory shows, too."""
BUDGET_SECS = 0.4
"""For all rounds of a load, beside the first `ROUNDS`."""
ROUNDS = 6
RESULTS = Path(__file__).parent / "results"


def build_way(mod: tvm.IRModule, way: str, target: Target) -> relax.VMExecutable:
    """Compile a module in one of the three ways."""
    if way == "ours":
        return build(mod, target)
    if way == "tvm":
        return relax.build(mod, target)
    return relax.build(mod, target, relax_pipeline=relax.get_default_pipeline(target))


def build_all(folder: Path, names: Iterable[str]) -> None:
    """Compile modules three ways into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    target = resolve_target("host")
    for name in names:
        case = ZOO[name](0, True)
        np.savez(folder / f"{name}.npz", *case.inputs)
        for way in WAYS:
            build_way(case.mod, way, target).export_library(str(folder / f"{name}.{way}.so"))
        print(name, flush=True)


def time_all(folder: Path, names: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    """Run the modules in turns: seconds of each round, by module and way."""
    samples: dict[str, dict[str, list[float]]] = {}
    for name in names:
        arrays = np.load(folder / f"{name}.npz")
        inputs = [tvm.runtime.tensor(arrays[key]) for key in arrays.files]
        rounds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(LOADS):
            _time_one(folder / name, inputs, rounds)
        samples[name] = rounds
    return samples


def _time_one(path: Path, inputs: list[Any], rounds: dict[str, list[float]]) -> None:
    """Load a module's three libraries and add rounds of each."""
    calls = {}
    for way in WAYS:
        library = tvm.runtime.load_module(f"{path}.{way}.so")
        calls[way] = relax.VirtualMachine(library, tvm.cpu())["main"]
        calls[way](*inputs)
    end, number = time.perf_counter() + BUDGET_SECS, 0
    while time.perf_counter() < end or number < ROUNDS:
        first = number % len(WAYS)
        for way in (*WAYS[first:], *WAYS[:first]):  # each comes after each other one
            start = time.perf_counter()
            calls[way](*inputs)
            rounds[way].append(time.perf_counter() - start)
        number += 1


def report(samples: dict[str, dict[str, list[float]]]) -> None:
    """Print medians in milliseconds and the ratio to the better of TVM's."""
    print("| module | " + " | ".join(f"{way} ms" for way in WAYS) + " | ours / best |")
    print("|---|" + "---:|" * 4)
    for name, rounds in samples.items():
        medians = [statistics.median(rounds[way]) for way in WAYS]
        cells = " | ".join(f"{median * 1e3:.3f}" for median in medians)
        print(f"| {name} | {cells} | {medians[2] / min(medians[:2]):.2f} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["build", "time"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.what == "build":
        build_all(arguments.folder, arguments.names or ZOO)
        return
    samples = time_all(arguments.folder, arguments.names or ZOO)
    report(samples)
    if arguments.names:
        return
    RESULTS.mkdir(exist_ok=True)
    about = {"machine": platform.processor() or platform.machine(), "tvm": tvm.__version__}
    text = json.dumps({**about, "seconds": samples})
    (RESULTS / "any-module.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
