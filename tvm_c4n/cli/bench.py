"""`tvm-c4n bench`."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.completion import bundled
from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, print_table, say
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.evaluate.profile import Profile


class Output(StrEnum):
    """Formats of the result."""

    md = "md"
    json = "json"


def bench(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            help="Names of bundled models, model folders, org/name of the hub, or artifacts (not "
            "with --profile).",
            autocompletion=bundled,
        ),
    ],
    n_prompt: Annotated[
        int, typer.Option("--n-prompt", "-p", help="Tokens of the prompt; 0: no such test.")
    ] = 512,
    n_gen: Annotated[
        int, typer.Option("--n-gen", "-n", help="Tokens to generate; 0: no such test.")
    ] = 128,
    threads: Annotated[
        str, typer.Option("--threads", "-t", help="One number or several: 1,2 [one per core].")
    ] = "",
    reps: Annotated[
        int, typer.Option("--reps", "-r", help="Rounds, in which models are interleaved.")
    ] = 5,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Format of the result.")
    ] = Output.md,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where a decode step's time goes, by kernel.")
    ] = False,
    sustained: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Generate for minutes, and compare the speed at first and at last: a device that "
            "gets warm slows down. Ctrl-C ends it with what there is.",
        ),
    ] = None,
) -> None:
    """Measure tokens per second, with the tests of llama-bench."""
    sizes = ["n_prompt", "n_gen", "reps"]
    refuse_without(context, sizes, "a run without --profile", not profile)
    whole = sustained is None
    refuse_without(context, [*sizes, "profile"], "a run without --sustained", whole)
    counts = parse_threads(threads)
    if sustained is not None:
        show_sustained(models, counts, sustained, output)
        return
    if profile:
        show_profiles(models, counts, output)
        return
    with ProgressBar("measuring") as bar:
        bar("loading", 0, 1)
        from tvm_c4n.compile.cache import load
        from tvm_c4n.runtime import bench as benchmark

        engines = [load(model, progress=bar, notify=bar.notify) for model in models]
        cells = benchmark.measure(
            engines, threads=counts, n_prompt=n_prompt, n_gen=n_gen, reps=reps, progress=bar
        )
    if output is Output.json:
        typer.echo(json.dumps([benchmark.as_json(cell) for cell in cells], indent=2))
    else:
        typer.echo(benchmark.as_markdown(cells))
    if note := benchmark.contention_note(cells):
        say(note)


def show_sustained(models: list[str], threads: list[int], minutes: float, output: Output) -> None:
    """Measure a model for minutes and print what was found, even if that was interrupted.

    Raises
    ------
    C4nError
        Several models or counts of threads, which would warm each other; or no time.
    """
    from tvm_c4n.runtime.sustained import check_minutes, measure_sustained

    check_minutes(minutes)
    if len(models) > 1 or len(threads) > 1:
        raise C4nError("--sustained takes one model and one number of threads: they are to be warm")
    with ProgressBar("measuring") as bar:
        bar("loading", 0, 1)
        from tvm_c4n.compile.cache import load

        engine = load(models[0], progress=bar, notify=bar.notify)
        found = measure_sustained(engine, threads[0], minutes, progress=bar)
    name = engine.artifact.path.name
    if output is Output.json:
        typer.echo(
            json.dumps({"model": name, "n_threads": threads[0], **found.as_json()}, indent=2)
        )
    else:
        secs = found.compared * found.window_secs
        rows = [
            [f"first {secs:g} s", f"{found.first:.2f}"],
            [f"last {secs:g} s", f"{found.last:.2f}"],
            ["last by first", f"{found.kept:.3f}"],
        ]
        measured = len(found.rates) * found.window_secs / 60
        count = f"{threads[0]} thread{'s' * (threads[0] > 1)}"
        title = f"{name}, {count}, {measured:.3g} of {minutes:g} minutes"
        print_table(title, ["window", "t/s"], rows)
    if not found.complete:
        raise KeyboardInterrupt


def show_profiles(models: list[str], threads: list[int], output: Output) -> None:
    """Profile models and print what was found.

    Raises
    ------
    C4nError
        A folder is an artifact: its kernels cannot be taken apart any more.
    """
    from tvm_c4n.evaluate.profile import profile_step
    from tvm_c4n.runtime.artifact import is_artifact

    for model in models:
        if is_artifact(Path(model)):
            raise C4nError(f"{model} is compiled: --profile takes the model folder it was made of")
    found = []
    for model in models:
        for count in threads:
            with ProgressBar(f"profiling {Path(model).name}") as bar:
                found.append((model, profile_step(model, count, progress=bar)))
    if output is Output.json:
        rows = [{"model": Path(model).name, **asdict(profile)} for model, profile in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    for model, profile in found:
        print_profile(Path(model).name, profile)


def print_profile(name: str, profile: Profile) -> None:
    """Print a profile as a table."""
    rows = []
    for stage in profile.stages:
        share = f"{100 * stage.micros / profile.step:.1f} %"
        micros = f"{stage.micros:.1f}"
        speed = f"{stage.gbs:.1f}" if stage.size_bytes else ""
        rows.append([stage.name, str(stage.calls), micros, share, speed])
    rest = profile.step - profile.kernels
    share = f"{100 * rest / profile.step:.1f} %"
    rows.append(["rest (barriers, calls)", "", f"{rest:.1f}", share, ""])
    rows.append(["step", "", f"{profile.step:.1f}", "100 %", ""])
    count = profile.threads
    title = (
        f"{name}, {count} thread{'s' * (count > 1)}: microseconds of a decode step\n"
        f"each kernel called by itself in the step's order, less {profile.call:.1f} us per call"
    )
    print_table(title, ["kernel", "calls", "us", "of step", "GB/s"], rows)


def parse_threads(text: str) -> list[int]:
    """Read ``1,2``; nothing stands for one thread for each core.

    Raises
    ------
    C4nError
        Not a list of numbers.
    """
    from os import cpu_count

    if not text:
        return [cpu_count() or 1]
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise C4nError(f"--threads {text}: not numbers; use 1 or 1,2") from None
