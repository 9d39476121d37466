"""Ours and llama.cpp on a phone that adb reaches: one JSON file that can be sent to us.

Everything is made here and pushed: our models and `c4n_run`, GGUF files and llama.cpp, built for
the phone's instructions (llama_cpp/bench.cpp times it as llama-bench does). Rounds go over all
contenders; before each sample the phone may cool until it is as warm as it was at first. The file
is written after each sample, with temperatures before and after it. Its ``run`` is this machine.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import options
from benchmarks.arm.stages import TARGET, runner
from benchmarks.contenders import C4nModel, LlamaCpp, Test
from benchmarks.llama_cpp import baseline
from benchmarks.models import artifact
from benchmarks.options import words
from benchmarks.random_models import Format
from benchmarks.report import cells_of, table
from benchmarks.results import place, write_result
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.device.adb import FOLDER, AdbDevice

_INSTALL = Path(__file__).parent / "llama_cpp" / "install.sh"


class OurModel(C4nModel):
    """A model of ours on the phone."""

    def __init__(self, device: AdbDevice, size: str, fmt: Format):
        super().__init__(size, fmt)
        self.device = device

    def open(self) -> None:
        target = TARGET + "-i8mm" * (level_of(self.device) == "i8mm")
        opened = open_artifact(artifact(self.size, self.fmt, target))
        self.weight_bytes = opened.manifest.weight_bytes
        self.command = self.device.push(opened, runner())

    def measure(self, test: Test, threads: int) -> float:
        sizes = {"n_prompt": test.n_prompt, "n_gen": test.n_gen}
        (found,) = self.device.bench(self.command, **sizes, reps=1, threads=threads)
        return float(found["samples_ns"][0]) / 1e9


class LlamaModel(LlamaCpp):
    """A GGUF file in llama.cpp on the phone, built for what its CPU has."""

    def __init__(self, device: AdbDevice, size: str, kind: str):
        super().__init__(size, kind)
        self.device = device

    def open(self) -> None:
        level = level_of(self.device)
        program = build(baseline.prefix() / f"arm-{level}" / "bench", "--arm")
        if self.kind != "F16":
            build(baseline.prefix() / "build" / "bin" / "llama-quantize")
        there, file = f"{FOLDER}/llama.cpp-{level}", self.make()
        self.device.send([file, program], there, start=[program.name])
        self.command, self.file = f"{there}/{program.name}", f"{there}/{file.name}"

    def measure(self, test: Test, threads: int) -> float:
        sizes = (test.n_prompt, test.n_gen)
        command = [self.command, self.file, *map(str, (threads, *sizes))]
        found = baseline.read(self.device.output(command), *sizes)
        self.weight_bytes = found.weight_bytes
        return found.secs


def level_of(device: AdbDevice) -> str:
    """Return the level of Arm CPU that all cores of a phone have."""
    return "i8mm" if " i8mm" in device.describe()["cpuinfo"] else "dotprod"


def build(program: Path, *options: str) -> Path:
    """Build llama.cpp unless a program of it is there."""
    command = ["bash", str(_INSTALL), *options, str(baseline.prefix())]
    if not program.exists() and subprocess.run(command, check=False).returncode:
        raise C4nError(f"cannot build {program}: {_INSTALL} says what it needs")
    return program


def phone(
    sizes: options.Sizes = "130m",
    formats: options.Formats = "int4-n0,int4-n2,int4-n3",
    baselines: options.Baselines = "Q4_0,Q8_0",
    threads: Annotated[int, typer.Option("--threads", "-t", help="0: one for a big core.")] = 0,
    rounds: options.Rounds = 5,
    n_prompt: int = 128,
    n_gen: int = 64,
    pause: Annotated[float, typer.Option(help="Seconds that it may cool before a sample.")] = 60,
    serial: Annotated[str, typer.Option(help="As `adb devices` shows it.")] = "",
    out: options.OutFile = None,
) -> None:
    """Measure a phone, ours beside llama.cpp; sends nothing to anybody."""
    device, file = AdbDevice(serial or None), out or place("phone.json", False)
    first, about = device.conditions(), device.describe()
    tests = [Test(n_prompt, 0)] * (n_prompt > 0) + [Test(0, n_gen)] * (n_gen > 0)
    found: list[OurModel | LlamaModel] = []
    for size in words(sizes):
        found += [OurModel(device, size, Format.parse(text)) for text in words(formats)]
        found += [LlamaModel(device, size, kind) for kind in words(baselines)]
    samples: list[dict[str, Any]] = []
    order = [(one, test) for test in tests for one in found]
    with ProgressBar("measuring") as bar:
        for done, one in enumerate(found):
            bar(f"making and sending {one.size} {one.name}", done, len(found))
            one.open()
        for number in range(rounds):
            turn = number % len(order)
            for one, test in order[turn:] + order[:turn]:
                bar(f"{one.size} {one.name} {test}", len(samples), rounds * len(order))
                before = device.cool(first, pause)
                sample = one.sample(test, threads or first.big_cores or os.cpu_count() or 1)
                conditions = {"before": vars(before), "after": vars(device.conditions())}
                samples.append(sample | conditions | {"others": 0.0})
                made = {"level": level_of(device), "llama-cpp-python": baseline.version()}
                write_result(file, {"built": made, "phone": about, "samples": samples})
    for test in tests:
        cells = cells_of([one for one in samples if one["test"] == str(test)], max_others=0)
        print(table(cells, {}))
    print(f"{file}: please send it to us")
