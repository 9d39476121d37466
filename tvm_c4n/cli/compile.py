"""`tvm-c4n compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.console import ProgressBar, megabytes, next_step


def compile_(
    model: Annotated[
        str,
        typer.Argument(
            help="C4n or Hugging Face folder, mamba-19m, or org/name of the hub.",
            autocompletion=bundled,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Artifact folder to write.")],
    target: Annotated[
        str, typer.Option(help="host, arm64-android (phones) or arm64-linux.")
    ] = "host",
    dtype: Annotated[
        str, typer.Option(help="float16 or float32, for weights that the folder stores dense.")
    ] = "float16",
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens of the longest text, for models with attention [4096, or what the model "
            "was made for]."
        ),
    ] = None,
    scan_dtype: Annotated[
        str | None,
        typer.Option(help="float32 or float16, for the states of Mamba-2's scan [float32]."),
    ] = None,
    kv_dtype: Annotated[
        str | None,
        typer.Option(help="float32 or float16, for keys and values of attention [float16]."),
    ] = None,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="Also for several sequences at once, as `serve` runs them."),
    ] = False,
    records: Annotated[
        Path | None, typer.Option(help="Folder of `tvm-c4n tune` [the package's, if any fits].")
    ] = None,
    debug_dump: Annotated[
        Path | None, typer.Option(help="Folder that gets the module after each phase.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Compile a model to an artifact: code, repacked weights, manifest."""
    with ProgressBar("compiling") as bar:
        bar("loading TVM", 0, 4)
        from tvm_c4n.compile.artifact import compile_model

        manifest = compile_model(
            model,
            out,
            target,
            dtype=dtype,  # type: ignore[arg-type]  # checked there, with a better message
            context=context,
            scan_dtype=scan_dtype,  # type: ignore[arg-type]  # checked there too
            kv_dtype=kv_dtype,  # type: ignore[arg-type]
            batch=batch,
            records=records,
            debug_dump=debug_dump,
            progress=bar,
            overwrite=overwrite,
        )
    from tvm_c4n.runtime.describe import schedule_report

    longest = f"context:       {manifest.context} tokens\n" if manifest.context else ""
    there = ("run",) if target == "host" else ("deploy", " --device DEVICE")
    typer.echo(
        f"size:          {megabytes(manifest.weight_bytes)} of repacked weights\n"
        f"compiled for:  {manifest.triple}, {manifest.isa}\n"
        f"kernels:       {schedule_report(manifest)}\n"
        f"{longest}"
        f"artifact:      {out}\n"
        f"{next_step(out, *there)}"
    )
