"""`tvm-c4n convert`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tvm_c4n.cli.console import ProgressBar, megabytes


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="GGUF file of llama.cpp; or folder of state-spaces (config.json, "
            "pytorch_model.bin or model.safetensors) or of Codestral Mamba (params.json, "
            "consolidated.safetensors)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Hugging Face folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Turn a GGUF file, or a model in its authors' format, into a Hugging Face folder."""
    with ProgressBar("converting") as bar:
        bar("loading", 0, 1)
        from tvm_c4n.checkpoint.original import is_gguf

        if source.suffix == ".gguf" or is_gguf(source):
            from tvm_c4n.frontend.gguf import convert_gguf as convert_model
        else:
            from tvm_c4n.frontend.original import convert as convert_model

        found = convert_model(source, out, overwrite=overwrite, progress=bar)
    config, there = found.config, "tokenizer.json" in found.copied
    typer.echo(
        f"model:         {config.model_type}, {config.n_layer} layers, hidden {config.d_model}, "
        f"vocabulary {config.vocab_size}, {megabytes(found.size_bytes)}\n"
        f"converted:     {out}\n"
        f"files:         {', '.join(found.copied) or 'none beside config and weights'}"
    )
    if not there:
        typer.echo(f"missing:       tokenizer.json; put that of {found.tokenizer} into {out}")
    typer.echo(f"next:          tvm-c4n prune {shlex.quote(str(out))} -o pruned")
