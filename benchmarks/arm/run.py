"""Instructions per token of our models and of ggml's on an emulated Arm core."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from benchmarks.arm.stages import measure
from benchmarks.arm.table import tables
from benchmarks.host import results_folder
from benchmarks.machine import CACHE
from benchmarks.options import BASELINES, Baselines, Formats, OutFile, Save, words
from benchmarks.results import write_result


def arm(
    size: Annotated[str, typer.Option(help="One size.")] = "130m",
    formats: Formats = "int4-n2,int4-n3,int8-n2,float16-n0",
    baselines: Baselines = BASELINES,
    levels: Annotated[str, typer.Option(help="ggml builds: dotprod, i8mm.")] = "dotprod,i8mm",
    save: Save = False,
    out: OutFile = None,
) -> None:
    """Count Arm instructions per token under qemu, and ask llvm-mca about the hot loops.

    Counts are the same on every machine: they are saved in the folder of the emulated core. Rows
    that the result's file already has are kept, unless they are counted again.
    """
    folder = results_folder("qemu-cortex-a76") if save else CACHE
    file = out or folder / f"arm-{size}.json"
    before = json.loads(file.read_text("utf-8")) if file.is_file() else None
    result = measure(size, words(formats), words(baselines), words(levels), before)
    write_result(file, result)
    print(tables(result))
