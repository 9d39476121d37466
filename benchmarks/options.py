"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.models import KNOWN

Sizes = Annotated[str, typer.Option(help=", ".join(KNOWN))]
Formats = Annotated[
    str, typer.Option("--formats", help="Ours: DTYPE-nN, for example int4-n2; n0 is dense.")
]
Target = Annotated[str, typer.Option(help="What ours is compiled for: host, c4n/x86-64-v3 (AVX2).")]
Baselines = Annotated[str, typer.Option(help="llama.cpp's types.")]
Tvm = Annotated[str, typer.Option(help="TVM's own build: default, dlight.")]
Threads = Annotated[str, typer.Option("--threads", "-t", help="For example 1,2.")]
Rounds = Annotated[int, typer.Option("--rounds", "-r", min=1)]
Save = Annotated[bool, typer.Option("--save", help="Into benchmarks/results, not build/bench.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Another file for the result.")]
Patience = Annotated[float, typer.Option(help="Seconds to wait for a quiet machine, each time.")]

FORMATS = "int8-n2,int4-n0,int4-n2,int4-n3"
BASELINES = "F16,Q8_0,Q4_0"


def words(text: str) -> list[str]:
    """Read ``a,b``."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """Read ``1,2``."""
    return [int(word) for word in words(text)]
