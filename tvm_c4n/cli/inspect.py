"""`tvm-c4n inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.console import ProgressBar, megabytes, print_table

if TYPE_CHECKING:
    from tvm_c4n.inspect import WeightKind


def inspect(
    model: Annotated[
        str, typer.Argument(help="Name of a bundled model, model folder, or artifact.")
    ],
) -> None:
    """Show pattern, dtype and bytes of each kind of weight."""
    from tvm_c4n.inspect import summarize

    with ProgressBar("reading") as bar:
        found = summarize(model, progress=bar)
    config = found.config
    title = (
        f"{found.path}: {found.kind}, {megabytes(found.size_bytes)} of weights, "
        f"{config.n_layer} layers, hidden {config.d_model}, vocabulary {config.vocab_size}"
    )
    head = ["weight", "count", "pattern", "dtype", "scale group", "bytes"]
    print_table(title, head, [_row(line) for line in found.weights])
    if found.made_for:
        typer.echo(f"compiled for {found.made_for}")


def _row(line: WeightKind) -> list[str]:
    from tvm_c4n.sparsity import describe

    patterns = [
        describe(n) + (f" x{count}" if len(line.removed) > 1 else "")
        for n, count in sorted(line.removed.items())
    ]
    groups = [str(group) if group else "none" for group in sorted(line.scale_groups)]
    return [
        line.kind,
        str(line.count),
        ", ".join(patterns),
        ", ".join(sorted(line.dtypes)),
        ", ".join(groups),
        megabytes(line.size_bytes),
    ]
