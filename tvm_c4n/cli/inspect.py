"""`tvm-c4n inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, megabytes, pattern, print_table, say

if TYPE_CHECKING:
    from tvm_c4n.inspect.summary import ModelSummary, WeightKind

_BANDWIDTH_SECS = 0.5


def inspect(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a bundled model, model folder, org/name, or artifact.",
            autocompletion=bundled,
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page: n and error by layer, Pareto front, roofline."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure tokens/s for the page's roofline; may compile."),
    ] = False,
) -> None:
    """Show pattern, dtype and bytes of each kind of weight."""
    refuse_without(context, ["measure"], "--html", html is not None)
    from tvm_c4n.inspect.summary import summarize

    with ProgressBar("reading") as bar:
        found = summarize(model, progress=bar)
    if html is not None:
        write_page(found, html, model if measure else None)
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
    if html is not None:
        typer.echo(f"page: {html}")


def write_page(summary: ModelSummary, file: Path, measured: str | None) -> None:
    """Write the page of a model.

    Parameters
    ----------
    summary : ModelSummary
    file : Path
    measured : str, optional
        The model, if its tokens/s are to be measured.

    Raises
    ------
    C4nError
        A report is damaged, or the file cannot be written.
    """
    from tvm_c4n.checkpoint.files import write_atomically
    from tvm_c4n.inspect.details import Roofline, details_of, token_bytes
    from tvm_c4n.inspect.page import page
    from tvm_c4n.runtime.bandwidth import read_bandwidth
    from tvm_c4n.runtime.contention import BUSY_CORES, CpuContention

    details, rate = details_of(summary), 0.0
    with CpuContention() as others, ProgressBar("measuring") as bar:
        bar("memory", 0, 1)
        if measured is not None:
            from tvm_c4n.compile.cache import load
            from tvm_c4n.runtime.bench import measure as bench
            from tvm_c4n.runtime.thread_pool import default_threads

            engine = load(measured, progress=bar, notify=bar.notify)
            cells = bench([engine], threads=[default_threads()], n_prompt=0, progress=bar)
            rate = cells[0].avg_ts
        roofline = Roofline(*token_bytes(summary), read_bandwidth(_BANDWIDTH_SECS), rate)
    write_atomically(file, page(summary, details, roofline))
    if others.cores >= BUSY_CORES:
        say(f"other programs took {others.cores:.1f} cores: memory is faster on an idle machine")


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
