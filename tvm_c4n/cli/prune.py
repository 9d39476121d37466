"""`tvm-c4n prune`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.conflicts import refuse_together, refuse_without
from tvm_c4n.cli.console import (
    ProgressBar,
    megabytes,
    next_step,
    on_interrupt,
    pattern,
    print_table,
    say,
)
from tvm_c4n.cli.pruning_options import parse_budget, parse_removed
from tvm_c4n.errors import RecipeError
from tvm_c4n.extras import pip_command, require

if TYPE_CHECKING:
    from tvm_c4n.pruning import Recipe, Report
    from tvm_c4n.pruning.allocation.budget import Budget
    from tvm_c4n.pruning.allocation.latency import LatencyTable


def prune(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a model, mamba-19m, or org/name (or org/name@revision) of the hub.",
            autocompletion=bundled,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="C4n folder to write; only --show-recipe needs none."),
    ] = None,
    removed: Annotated[
        str,
        typer.Option(
            help="n: how many of every 4 weights go, for in_proj and out_proj; "
            "or by projection: in_proj=2,out_proj=1."
        ),
    ] = "2",
    method: Annotated[str, typer.Option(help="obs, sparsegpt, wanda or magnitude.")] = "obs",
    dtype: Annotated[
        str, typer.Option(help="Kept weights: float16, int8, int4, int3 or int2.")
    ] = "float16",
    calibration: Annotated[
        Path | None, typer.Option(help="Text to calibrate with, .jsonl or plain [the package's].")
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(help="Instead of --removed: remove this share of all projections' weights."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Instead of --removed and --dtype: packed size, 9MB.")
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            help="Instead of --removed and --dtype: time per generated token, 8ms, or for a prompt "
            "and what is generated, 900ms:pp512+tg128; needs --latency-table."
        ),
    ] = None,
    latency_table: Annotated[
        Path | None, typer.Option(help="Latency table (tune --latency-table), or its folder.")
    ] = None,
    records: Annotated[Path | None, typer.Option(hidden=True)] = None,
    ppl_ratio: Annotated[
        float | None,
        typer.Option(
            help="Instead of --removed and --dtype: the smallest model whose perplexity on "
            "calibration text is at most this multiple of the dense one's, 1.05."
        ),
    ] = None,
    without: Annotated[
        str,
        typer.Option(help="Leave out parts of method obs to see what they bring: permute,rms."),
    ] = "",
    rotate: Annotated[
        bool | None,
        typer.Option(
            help="Turn the residual stream into a basis in which less is lost [where weights that "
            "read it are removed]."
        ),
    ] = None,
    repair: Annotated[
        int,
        typer.Option(
            help="After a layer is pruned, train it on so many windows towards the dense one's "
            "output (384); 0: one-shot."
        ),
    ] = 0,
    samples: Annotated[int, typer.Option(help="Calibration windows.")] = 128,
    seed: Annotated[int, typer.Option(help="Draws the calibration windows.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps finished layers; a stopped run resumes from there."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    recipe_file: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            help="YAML or JSON of a recipe, or the report.json of a C4n folder, instead of the "
            "options that say what goes and how.",
        ),
    ] = None,
    show_recipe: Annotated[
        bool,
        typer.Option(
            "--show-recipe", help="Print the recipe that the options make; prune nothing."
        ),
    ] = False,
) -> None:
    """Remove n of every 4 weights; the kept ones make up for them."""
    # torch's idle threads spin, where threads of loops that TVM compiled would run. What waits
    # reads this when torch is loaded, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    by_cost = ["size", "latency", "ppl_ratio"]
    refuse_together(context, "removed", ["sparsity", *by_cost], "both say how much goes")
    refuse_together(context, "dtype", by_cost, "the budget chooses the dtype too")
    by_hand = ["removed", "method", "dtype", "rotate", "without", "repair", "samples", "seed"]
    refuse_together(context, "recipe_file", [*by_hand, "sparsity", *by_cost], "the file says that")
    refuse_together(context, "show_recipe", ["out", "resume", "overwrite"], "it writes no model")
    refuse_without(context, ["latency_table", "records"], "--latency", latency is not None)
    refuse_without(context, ["without", "repair"], "--method obs", method == "obs")
    from tvm_c4n.pruning.recipe import Recipe

    if recipe_file is not None:
        recipe = Recipe.from_file(recipe_file)
    else:
        left_out = tuple(part.strip() for part in without.split(",") if part.strip())
        recipe = Recipe.model_validate(
            {
                "removed": parse_removed(removed),
                "method": method,
                "dtype": dtype,
                "samples": samples,
                "seed": seed,
                "rotate": rotate,
                "without": left_out,
                "repair": repair,
            }
        )
    budget = parse_budget(sparsity, size, latency, ppl_ratio, latency_table or records)
    if budget is not None and budget.table is not None:
        from tvm_c4n.pruning.allocation.table_doubts import doubts

        if found := doubts(budget.table):
            say(found)
    if show_recipe:
        typer.echo(_chosen(model, recipe, budget, calibration, device).to_yaml(), nl=False)
        return
    if out is None:
        raise RecipeError("give --out FOLDER to write to, or --show-recipe")
    from tvm_c4n.pruning import prune as prune_model

    if resume is None:
        left = "stopped; no layer is kept: with --resume DIR finished ones are"
    else:
        left = f"stopped; the same command resumes from {resume}"
    with on_interrupt(lambda: left), ProgressBar("pruning") as bar:
        bar("loading", 0, 1)
        report = prune_model(
            model,
            out,
            recipe,
            budget=budget,
            calibration=calibration,
            progress=bar,
            overwrite=overwrite,
            resume=resume,
            device=device,
        )
    if budget is not None:
        _show_allocation(out, budget.table)
    _show(report, out)


def _chosen(
    model: str, recipe: Recipe, budget: Budget | None, calibration: Path | None, device: str
) -> Recipe:
    """Return the recipe that a model would be pruned by."""
    if budget is not None:
        require("prune", "a budget")
    with ProgressBar("allocating") as bar:
        bar("loading", 0, 1)
        if budget is None:
            from tvm_c4n.checkpoint import open_checkpoint
            from tvm_c4n.model.families import describe_model

            # Refuses what does not fit the model.
            recipe.plan(describe_model(open_checkpoint(model, bar).config))
            return recipe
        from tvm_c4n.pruning.allocation.allocate import make_recipe

        return make_recipe(
            model, budget, recipe, calibration=calibration, progress=bar, device=device
        )


def _show_allocation(out: Path, table: LatencyTable | None) -> None:
    """Print the Pareto front, where the chosen model and the baselines lie, and how sure it is."""
    from tvm_c4n.checkpoint.json_reading import read_json
    from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES

    found = read_json(out / "allocation.json", MAX_INDEX_BYTES, "prune again")
    unit, factor, digits = {
        "bytes": ("MB", 1e-6, 2),
        "seconds": (f"ms for {found['target'].get('workload')}", 1e3, 3),
        "weights kept": ("weights kept", 1.0, 0),
    }[found["unit"]]
    points = [("front", point) for point in found["front"]]
    points += [(name, found[name]) for name in ("chosen", "greedy", "uniform") if found[name]]
    rows = [
        [name, f"{point['cost'] * factor:.{digits}f}", f"{point['predicted_loss']:.4f}"]
        for name, point in points
    ]
    exact = "exact" if not found["gap"] else f"at most {found['gap']:.2g} nats from exact"
    print_table(f"Pareto front ({exact})", ["", unit, "predicted loss, nats per token"], rows)
    if table is not None:
        from tvm_c4n.pruning.allocation.table_doubts import worth

        typer.echo(worth(table))
    if found["measured_ratio"]:
        typer.echo(f"measured on calibration text: {found['measured_ratio']:.4f} times the dense")
    pictures = [name for name in ("front.png", "removed.png") if (out / name).exists()]
    drawn = ", ".join(str(out / name) for name in pictures)
    remedy = f"none: they need matplotlib: {pip_command('bench')}"
    typer.echo(f"pictures: {drawn or remedy}\n")


def _show(report: Report, out: Path) -> None:
    from tvm_c4n.sparsity import count_removed

    kinds = list(dict.fromkeys(row.projection for row in report.projections))
    rows = []
    for kind in kinds:
        own = [row for row in report.projections if row.projection == kind]
        rows.append(
            [
                kind,
                pattern(count_removed(row.removed for row in own)),
                report.dtypes(kind),
                f"{report.mean_error(kind):.4f}",
                megabytes(sum(row.size_bytes for row in own)),
            ]
        )
    # "error" is the relative output error; more words, and a mixture needs over 80 columns.
    head = ["projection", "pattern", "dtype", "error", "size"]
    print_table(report.heading, head, rows)
    before, after = report.source_bytes, report.packed_bytes
    typer.echo(
        f"size:          {megabytes(before)} -> {megabytes(after)}, "
        f"{before / after:.1f}x smaller (all tensors)\n"
        f"pruned model:  {out}\n"
        f"dense export:  {out / 'dense'} (for transformers and other Hugging Face tools)\n"
        f"{next_step(out)}"
    )
