"""`tvm-c4n heal`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_c4n.cli.conflicts import refuse_together
from tvm_c4n.cli.console import ProgressBar, next_step, on_interrupt
from tvm_c4n.errors import RecipeError

if TYPE_CHECKING:
    from tvm_c4n.healing import HealReport
    from tvm_c4n.healing.settings import HealSettings


def heal(
    context: typer.Context,
    pruned: Annotated[Path, typer.Argument(help="C4n folder, as prune writes it.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="C4n folder to write; only --show-recipe needs none."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="The dense model: a folder, mamba-19m, or org/name of the hub."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Training text: .jsonl, plain, or token ids as .u16 or .u16.bz2; may be repeated."
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Text that is measured before and after, and not trained on; may be repeated.",
        ),
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens to train on.")] = 100_000_000,
    device: Annotated[str, typer.Option(help="cuda, or cpu for small models.")] = "cuda",
    batch: Annotated[int, typer.Option(help="Windows per step.")] = 64,
    window: Annotated[int, typer.Option(help="Tokens per window.")] = 1024,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    mask_update_fraction: Annotated[
        float, typer.Option(help="Fraction of the steps in which masks may change; 0: fixed.")
    ] = 0.0,
    label_loss: Annotated[
        float, typer.Option(help="Weight of the text's own next tokens in the loss, 0 to 1.")
    ] = 0.0,
    relearn: Annotated[float, typer.Option(hidden=True)] = 0.0,
    hard: Annotated[float, typer.Option(hidden=True)] = 0.0,
    held_out: Annotated[int, typer.Option(help="Windows that only measure.")] = 64,
    save_steps: Annotated[int, typer.Option(help="Steps between saved states.")] = 500,
    seed: Annotated[int, typer.Option(help="Draws the order of the text.")] = 0,
    accumulate: Annotated[
        int, typer.Option(help="Parts that a process's share of a step is trained on in.")
    ] = 1,
    shard: Annotated[
        bool,
        typer.Option("--shard", help="Under torchrun: share weights and state between the GPUs."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    recipe_file: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            help="YAML or JSON of a recipe, or the heal.json of a healed folder, instead of the "
            "options that say how to train.",
        ),
    ] = None,
    show_recipe: Annotated[
        bool,
        typer.Option("--show-recipe", help="Print the recipe that the options make; heal nothing."),
    ] = False,
) -> None:
    """Train a pruned model towards the dense one; resumes after an interrupt."""
    by_hand = ["tokens", "batch", "window", "lr", "mask_update_fraction", "label_loss"]
    by_hand += ["relearn", "hard", "held_out", "save_steps", "seed"]
    refuse_together(context, "recipe_file", by_hand, "the file says that")
    refuse_together(context, "show_recipe", ["out", "overwrite"], "it writes no model")
    from tvm_c4n.healing.settings import HealSettings

    if recipe_file is not None:
        settings = HealSettings.from_file(recipe_file)
    else:
        settings = HealSettings(
            tokens=tokens,
            batch=batch,
            window=window,
            lr=lr,
            mask_update_fraction=mask_update_fraction or relearn,
            label_loss=label_loss or hard,
            held_out=held_out,
            save_steps=save_steps,
            seed=seed,
        )
    if show_recipe:
        typer.echo(settings.to_yaml(), nl=False)
        return
    if out is None or teacher is None or not data:
        raise RecipeError("give --out FOLDER, --teacher MODEL and --data TEXT, or --show-recipe")
    _heal(
        pruned, out, teacher, data, settings, judge=_by_name(judge or []),
        device=device, accumulate=accumulate, shard=shard, overwrite=overwrite,
    )  # fmt: skip


def _judgements(report: HealReport) -> str:
    """Return a line for each text that was judged by, the worst one marked."""
    return "".join(
        f"{name + ':':<15}{each.before.ratio:.4f} -> {each.after.ratio:.4f} times, divergence "
        f"{each.before.divergence:.4f} -> {each.after.divergence:.4f}"
        f"{' (worst)' if name == report.worst else ''}\n"
        for name, each in report.judged.items()
    )


def _by_name(given: list[str]) -> dict[str, str]:
    """Return texts to judge by, from NAME=FILE each."""
    found: dict[str, str] = {}
    for entry in given:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise RecipeError(f"--judge {entry}: give NAME=FILE, for example books=books.txt")
        if name in found:
            raise RecipeError(f"--judge {entry}: the name {name} is given twice")
        found[name] = path
    return found


def _heal(
    pruned: Path,
    out: Path,
    teacher: str,
    data: list[Path],
    settings: HealSettings,
    **how: Any,
) -> None:
    """Train with a bar, and say what it gained; of several processes the first one does."""
    from tvm_c4n.healing import heal as heal_model
    from tvm_c4n.healing.state import state_path

    def left() -> str:
        state = state_path(out)
        kept = f"resumes from {state}" if state.exists() else "starts anew: no step was done yet"
        return f"stopped; the same command {kept}"

    with on_interrupt(left), ProgressBar("healing") as bar:
        bar("loading", 0, 1)
        report = heal_model(pruned, out, teacher, data, settings, progress=bar, **how)
    if report is None:
        return
    before, after = report.before, report.after
    typer.echo(
        f"perplexity:    {before.ratio:.4f} -> {after.ratio:.4f} times {report.teacher}'s\n"
        f"divergence:    {before.divergence:.4f} -> {after.divergence:.4f} nats per token\n"
        f"measured on:   {settings.held_out} held-out windows of {settings.window} tokens\n"
        f"{_judgements(report)}"
        f"trained for:   {report.run_secs:.0f} s on {report.device}\n"
        f"healed model:  {out}\n"
        f"{next_step(out)}"
    )
