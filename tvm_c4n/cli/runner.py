"""`tvm-c4n runner`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tvm_c4n.errors import TargetError


def runner(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    target: Annotated[str, typer.Option(help="host, arm64-linux or arm64-android.")] = "host",
    runtime: Annotated[
        Path | None, typer.Option(help="Folder of TVM's runtime libraries for the target.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Download them with pip (arm64-linux only).")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Build c4n_run and libc4n, which run artifacts on a device without Python."""
    from tvm_c4n.compile.native import build_runner, fetch_runtime

    if fetch and (target != "arm64-linux" or runtime):
        raise TargetError("--fetch gets the libraries for --target arm64-linux, without --runtime")
    with TemporaryDirectory() as folder:
        if fetch:
            runtime = Path(folder)
            fetch_runtime(runtime)
        launcher = build_runner(out, target, runtime=runtime, overwrite=overwrite)
    typer.echo(
        f"runner:        {launcher}\n"
        f"runs:          artifacts for {target}; text with -p, token ids on stdin\n"
        f"options:       {launcher} -h"
    )
