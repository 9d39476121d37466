"""`tvm-c4n inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.console import ProgressBar, megabytes, pattern, print_table

if TYPE_CHECKING:
    from tvm_c4n.inspect import WeightKind


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model, model folder, org/name, or artifact.",
            autocompletion=bundled,
        ),
    ],
) -> None:
    """Show pattern, dtype and bytes of each kind of weight."""
    from tvm_c4n.inspect import summarize

    with ProgressBar("reading") as bar:
        found = summarize(model, progress=bar)
    config = found.config
    weights = "repacked weights" if found.made_for else "weights"
    title = (
        f"{found.path}: {found.kind}, {megabytes(found.size_bytes)} of {weights}\n"
        f"{config.n_layer} layers, hidden {config.d_model}, vocabulary {config.vocab_size}"
        f"{f', context {config.context}' if config.context else ''}"
    )
    head = ["weight", "count", "pattern", "dtype", "scale group", "size"]
    print_table(title, head, [_row(weight) for weight in found.weights])
    if found.made_for:
        typer.echo(f"compiled for {found.made_for}")


def _row(weight: WeightKind) -> list[str]:
    groups = [str(group) if group else "none" for group in sorted(weight.scale_groups)]
    return [
        weight.kind,
        str(weight.count),
        pattern(weight.removed),
        ", ".join(sorted(weight.dtypes)),
        ", ".join(groups),
        megabytes(weight.size_bytes),
    ]
