"""`tvm-c4n deploy`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_c4n.cli.conflicts import refuse_without
from tvm_c4n.cli.console import ProgressBar, print_table, write_text
from tvm_c4n.cli.prompt import FILE_HELP, PROMPT_HELP, read_prompt
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.runtime.artifact import Artifact


def deploy(
    context: typer.Context,
    artifact: Annotated[Path, typer.Argument(help="Artifact for the device.")],
    device: Annotated[
        str,
        typer.Option(help="adb, adb:SERIAL, rpc://HOST:PORT/KEY (tracker) or rpc://HOST:PORT."),
    ],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help=PROMPT_HELP)] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help=FILE_HELP)] = None,
    tokens: Annotated[
        int, typer.Option("--n-predict", "-n", help="Generate at most this many tokens.")
    ] = 64,
    threads: Annotated[
        int, typer.Option("--threads", "-t", help="Threads on the device; 0: its big cores.")
    ] = 0,
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure speed instead of continuing the prompt.")
    ] = False,
    n_prompt: Annotated[int, typer.Option(help="With --bench: tokens of the prompt.")] = 512,
    n_gen: Annotated[int, typer.Option(help="With --bench: tokens to generate.")] = 128,
    reps: Annotated[int, typer.Option("--reps", "-r", help="With --bench: rounds.")] = 5,
    runner: Annotated[
        Path | None, typer.Option(help="For adb: folder of `tvm-c4n runner`.")
    ] = None,
    wait: Annotated[float, typer.Option(help="For rpc: seconds to wait for a device.")] = 60,
) -> None:
    """Send an artifact to a device, and run or measure it there."""
    refuse_without(context, ["n_prompt", "n_gen", "reps"], "--bench", bench)
    refuse_without(context, ["prompt", "file", "tokens"], "a run without --bench", not bench)
    over_rpc = device.startswith("rpc://")
    refuse_without(context, ["runner"], "--device adb", not over_rpc)
    refuse_without(context, ["wait"], "--device rpc://...", over_rpc)
    from tvm_c4n.runtime.artifact import open_artifact
    from tvm_c4n.runtime.continuation import check_limit

    opened = open_artifact(artifact)
    if bench and (n_prompt + n_gen < 1 or min(n_prompt, n_gen) < 0 or reps < 1):
        raise C4nError("nothing to measure: --n-prompt or --n-gen, and --reps must be above 0")
    if threads < 0:
        raise C4nError(f"--threads {threads}: use 1 or more, or 0 for the big cores")
    tests = [(n_prompt, 0)] * (n_prompt > 0) + [(0, n_gen)] * (n_gen > 0) if bench else []
    text = "" if bench else read_prompt(prompt, file)
    check_limit(tokens)
    job = _Job(opened, text, tokens, threads, tests, reps)
    if over_rpc:
        _over_rpc(job, device, wait)
    elif device == "adb" or device.startswith("adb:"):
        if runner is None:
            raise C4nError(
                "adb needs a runner: tvm-c4n runner --target arm64-linux --fetch -o runner, "
                "then --runner runner"
            )
        _over_adb(job, device.partition(":")[2] or None, runner)
    else:
        raise C4nError(f"--device {device!r}: use adb, adb:SERIAL or rpc://HOST:PORT/KEY")


@dataclass(frozen=True)
class _Job:
    """What to do on the device: continue the prompt, or run the tests if there are any."""

    artifact: Artifact
    prompt: str
    tokens: int
    threads: int
    tests: list[tuple[int, int]]
    reps: int


def _over_rpc(job: _Job, device: str, wait_secs: float) -> None:
    from tvm_c4n.runtime.device.remote import RemoteEngine
    from tvm_c4n.runtime.device.rpc import open_session, parse_address
    from tvm_c4n.runtime.generate import Stats, generate

    with open_session(parse_address(device), wait_secs=wait_secs) as remote:
        with ProgressBar("deploying") as bar:
            engine = RemoteEngine(job.artifact, remote, threads=job.threads or None, progress=bar)
        if job.tests:
            samples = [(test, engine.time_test(*test, job.reps)) for test in job.tests]
            title = f"{job.artifact.path} on {device}, by the device's clock"
            _show(title, [_row(test, job.threads, ns) for test, ns in samples])
            return
        stats = Stats()
        write_text(job.prompt, generate(engine, job.prompt, job.tokens, stats=stats))
        typer.echo(f"{stats} (over the connection)", err=True)


def _over_adb(job: _Job, serial: str | None, runner: Path) -> None:
    from tvm_c4n.runtime.device.adb import AdbDevice
    from tvm_c4n.runtime.text_stream import TextStream

    device = AdbDevice(serial)
    with ProgressBar("deploying") as bar:
        bar("sending", 0, 1)
        command = device.push(job.artifact, runner)
    if job.tests:
        before = device.conditions()
        n_prompt, n_gen = (sum(test[i] for test in job.tests) for i in (0, 1))
        sizes = {"n_prompt": n_prompt, "n_gen": n_gen, "reps": job.reps}
        found = device.bench(command, **sizes, threads=job.threads)
        rows = [_row((r["n_prompt"], r["n_gen"]), job.threads, r["samples_ns"]) for r in found]
        _show(f"{job.artifact.path} over adb", rows)
        typer.echo(f"before: {before}\nafter:  {device.conditions()}")
        return
    tokenizer = job.artifact.tokenizer()
    stream = TextStream(tokenizer)
    ids = tokenizer.prompt(job.prompt)
    made = device.generate(command, ids, job.tokens, ends=tokenizer.ends, threads=job.threads)

    def pieces() -> Iterator[str]:
        for token in made:
            yield stream.put(token)
        yield stream.end()

    write_text(job.prompt, pieces())
    typer.echo(device.said, err=True)


def _row(test: tuple[int, int], threads: int, samples_ns: list[int]) -> list[str]:
    from statistics import fmean, stdev

    rates = [sum(test) * 1e9 / ns for ns in samples_ns]
    spread = stdev(rates) if len(rates) > 1 else 0.0
    name = f"pp{test[0]}" if test[0] else f"tg{test[1]}"
    return [name, str(threads or "big cores"), f"{fmean(rates):.2f} ± {spread:.2f}"]


def _show(title: str, rows: list[list[str]]) -> None:
    print_table(title, ["test", "threads", "t/s"], rows)
