"""`tvm-c4n prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_c4n.cli.console import Steps, megabytes, print_table
from tvm_c4n.errors import RecipeError

if TYPE_CHECKING:
    from tvm_c4n.prune import Report


def prune(
    model: Annotated[str, typer.Argument(help="Folder of a model, or the name mamba-19m.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="C4n folder to write.")],
    removed: Annotated[
        str,
        typer.Option(
            help="n: how many of every 4 weights go, for in_proj and out_proj; "
            "or by projection: in_proj=2,out_proj=1."
        ),
    ] = "2",
    method: Annotated[str, typer.Option(help="obs, sparsegpt, wanda or magnitude.")] = "obs",
    dtype: Annotated[str, typer.Option(help="Kept weights: float16, int8 or int4.")] = "float16",
    calibration: Annotated[
        Path | None, typer.Option(help="Text to calibrate with, .jsonl or plain [the package's].")
    ] = None,
    samples: Annotated[int, typer.Option(help="Calibration windows.")] = 128,
    seed: Annotated[int, typer.Option(help="Draws the calibration windows.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Remove n of every 4 weights; the kept ones make up for them."""
    fields: dict[str, Any] = {"method": method, "dtype": dtype, "samples": samples, "seed": seed}
    from tvm_c4n.prune.recipe import Recipe

    recipe = Recipe(removed=parse_removed(removed), **fields)
    from tvm_c4n.prune import prune as prune_model

    with Steps("pruning") as steps:
        report = prune_model(
            model, out, recipe, calibration=calibration, progress=steps, overwrite=overwrite
        )
    _show(report, out)


def parse_removed(text: str) -> int | dict[str, int]:
    """Read ``2`` or ``in_proj=2,out_proj=1``.

    Raises
    ------
    RecipeError
        Neither of the two.
    """
    remedy = "use a number, or in_proj=2,out_proj=1"
    if "=" not in text:
        return _number(text, remedy)
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise RecipeError(f"--removed {text}: cannot read {part!r}; {remedy}")
        found[name] = _number(number, remedy)
    return found


def _number(text: str, remedy: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"--removed: {text!r} is not a number; {remedy}") from None


def _show(report: Report, out: Path) -> None:
    from tvm_c4n.sparsity import describe

    kinds = list(dict.fromkeys(row.projection for row in report.projections))
    rows = []
    for kind in kinds:
        own = [row for row in report.projections if row.projection == kind]
        patterns = ", ".join(describe(n) for n in sorted({row.removed for row in own}))
        rows.append(
            [
                kind,
                patterns,
                ", ".join(sorted({row.dtype for row in own})),
                f"{report.mean_error(kind):.4f}",
                megabytes(sum(row.size_bytes for row in own)),
            ]
        )
    head = ["projection", "pattern", "dtype", "relative error", "packed"]
    recipe = report.recipe
    title = f"{report.source}: {recipe['method']}, {recipe['dtype']}, {report.run_secs:.1f} s"
    print_table(title, head, rows)
    typer.echo(
        f"on disk:       {megabytes(report.source_bytes)} -> {megabytes(report.disk_bytes)}\n"
        f"packed memory: {megabytes(report.packed_bytes)} with embeddings and small tensors\n"
        f"pruned model:  {out}\n"
        f"dense twin:    {out / 'dense'} (opens with transformers and other Hugging Face tools)"
    )
