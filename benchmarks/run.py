"""The benchmarks, behind one command: ``python -m benchmarks.run --help``.

Models and artifacts are made once and kept in build/bench; samples are appended to a log of JSON
lines, from which `report` makes tables and pictures. Needs the extras [prune] and [bench], for
llama.cpp's rows also `make bench-llama`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import CACHE
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.cli.console import ProgressBar
from tvm_c4n.errors import C4nError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Sizes = Annotated[str, typer.Option(help="mamba-19m, 130m, 370m, 790m, 1.4b, 2.8b.")]
Forms = Annotated[str, typer.Option(help="Ours: DTYPE-nN, for example int4-n2; n0 is dense.")]
Peers = Annotated[str, typer.Option(help="llama.cpp's types.")]
TvmWays = Annotated[str, typer.Option("--tvm", help="TVM's own build: default, dlight.")]
Threads = Annotated[str, typer.Option("--threads", "-t", help="For example 1,2.")]
Rounds = Annotated[int, typer.Option("--rounds", "-r", min=1)]
LogFile = Annotated[Path, typer.Option("--log", help="JSON lines; appended to.")]
Patience = Annotated[float, typer.Option(help="Seconds to wait for a quiet machine, each time.")]

FORMS = "int8-n2,int4-n0,int4-n2,int4-n3"
PEERS = "F16,Q8_0,Q4_0"


@app.command()
def decode(
    sizes: Sizes = "130m",
    forms: Forms = FORMS,
    peers: Peers = PEERS,
    tvm: TvmWays = "",
    threads: Threads = "1,2",
    rounds: Rounds = 5,
    n_gen: int = 64,
    log: LogFile = CACHE / "decode.jsonl",
    patience: Patience = 0,
) -> None:
    """Measure generation, all rows in turns."""
    _measure(sizes, forms, peers, tvm, threads, rounds, [(0, n_gen)], log, patience)


@app.command()
def prefill(
    sizes: Sizes = "130m",
    forms: Forms = FORMS,
    peers: Peers = PEERS,
    tvm: TvmWays = "",
    threads: Threads = "2",
    rounds: Rounds = 5,
    n_prompt: Annotated[str, typer.Option(help="Tokens; several: 512,8192.")] = "512",
    log: LogFile = CACHE / "prefill.jsonl",
    patience: Patience = 0,
) -> None:
    """Measure the reading of a prompt, all rows in turns."""
    tests = [(int(count), 0) for count in _words(n_prompt)]
    _measure(sizes, forms, peers, tvm, threads, rounds, tests, log, patience)


@app.command()
def make(
    sizes: Sizes = "130m", forms: Forms = FORMS, peers: Peers = PEERS, tvm: TvmWays = ""
) -> None:
    """Make the files of rows, so that no measurement has to."""
    from benchmarks.rows import rows_of

    for row in rows_of(_words(sizes), _words(forms), _words(peers), _words(tvm)):
        print(f"{row.size} {row.name}", file=sys.stderr, flush=True)
        row.make()


@app.command()
def load(
    sizes: Sizes = "2.8b",
    forms: Forms = "int4-n2",
    n_prompt: int = 512,
    rounds: Rounds = 3,
    log: LogFile = CACHE / "load.jsonl",
) -> None:
    """Measure load time and peak memory, each in a fresh process."""
    from benchmarks.load import measure
    from benchmarks.machine import Others
    from benchmarks.report import load_table
    from benchmarks.rounds import Log, read_log
    from benchmarks.rows import Ours
    from benchmarks.shapes import Format

    rows = [Ours(size, Format.parse(form)) for size in _words(sizes) for form in _words(forms)]
    artifacts = [row.make() for row in rows]
    out = Log(log, _command())
    for _ in range(rounds):
        for row, artifact in zip(rows, artifacts, strict=True):
            with Others() as others:
                found = measure(artifact, n_prompt)
            out.note(type="load", size=row.size, row=row.name, others=others.cores, **found)
    print(load_table(read_log([log])))


@app.command()
def busy(
    sizes: Sizes = "130m",
    forms: Forms = FORMS,
    peers: Peers = "Q4_0",
    threads: Annotated[int, typer.Option("--threads", "-t")] = 2,
    rounds: Rounds = 3,
    n_gen: int = 64,
    log: LogFile = CACHE / "busy.jsonl",
) -> None:
    """Measure generation beside a process that keeps one core busy."""
    from benchmarks.busy import measure, table
    from benchmarks.rounds import Log, read_log
    from benchmarks.rows import Test, rows_of

    rows = rows_of(_words(sizes), _words(forms), _words(peers), [])
    measure(rows, Test(0, n_gen), threads, rounds, Log(log, _command()))
    print(table(read_log([log])))


@app.command()
def kernels(
    sizes: Sizes = "130m",
    forms: Forms = FORMS,
    threads: Threads = "1,2",
    reps: int = 20,
    log: LogFile = CACHE / "kernels.jsonl",
) -> None:
    """Measure every kernel of a step by itself, beside the memory bandwidth."""
    from dataclasses import asdict

    from benchmarks.machine import Others
    from benchmarks.models import model_folder
    from benchmarks.report import kernel_table
    from benchmarks.rounds import Log, note_bandwidth, read_log
    from benchmarks.shapes import Format
    from tvm_c4n.evaluate.profile import profile_step

    out = Log(log, _command())
    counts = [int(count) for count in _words(threads)]
    note_bandwidth(counts, out)
    for size in _words(sizes):
        for form in _words(forms):
            model = model_folder(size, Format.parse(form))
            for count in counts:
                with Others() as others:
                    found = asdict(profile_step(model, count, reps=reps))
                out.note(type="kernels", size=size, form=form, others=others.cores, **found)
    print(kernel_table(read_log([log])))


@app.command()
def bursts(
    forms: Forms = "int4-n0,int4-n2,int4-n3,int8-n0,int8-n2",
    rows: int = 512,
    cols: int = 1024,
    tokens: Annotated[str, typer.Option(help="1: GEMV; more: GEMM. Several: 1,24.")] = "1,24",
    mib: Annotated[int, typer.Option(help="0: in the second cache; 320: from memory.")] = 0,
    secs: Annotated[float, typer.Option(help="Of measuring each form.")] = 5,
    log: LogFile = CACHE / "bursts.jsonl",
) -> None:
    """Measure kernels by themselves, in bursts that busy neighbours hardly disturb."""
    from dataclasses import asdict

    from benchmarks.bursts import Shape, measure, table
    from benchmarks.rounds import Log, read_log
    from benchmarks.shapes import Format

    out = Log(log, _command())
    for shape in [Shape(rows, cols, int(count), mib) for count in _words(tokens)]:
        for form in _words(forms):
            found = measure(Format.parse(form), shape, secs)
            out.note(type="burst", form=form, **asdict(shape), **found)
    print(table(read_log([log])))


@app.command()
def arm(
    size: Annotated[str, typer.Option(help="One size.")] = "130m",
    forms: Forms = "int4-n2,int4-n3,int8-n2,float16-n0",
    peers: Peers = PEERS,
    levels: Annotated[str, typer.Option(help="ggml builds: dotprod, i8mm.")] = "dotprod,i8mm",
    out: Annotated[Path | None, typer.Option(help="Result as JSON.")] = None,
) -> None:
    """Count Arm instructions a token under qemu, and ask llvm-mca about the hot loops.

    Rows that the result's file has already are kept, unless they are counted again.
    """
    import json

    from benchmarks.arm.stages import measure
    from benchmarks.arm.table import tables

    file = out or CACHE / f"arm-{size}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    result = measure(size, _words(forms), _words(peers), _words(levels), before)
    write_json(file, result)
    print(tables(result))


@app.command()
def model(
    arm_result: Annotated[Path, typer.Argument(help="JSON of `arm`: what a unit of work costs.")],
    check: Annotated[
        list[Path] | None, typer.Option(help="JSON of `arm` for other sizes, to check against.")
    ] = None,
    logs: Annotated[list[Path] | None, typer.Option(help="Logs of `decode`.")] = None,
) -> None:
    """Predict bytes and instructions a token from shapes, beside what was measured."""
    import json

    from benchmarks.predict import tables
    from benchmarks.rounds import read_log

    read = [json.loads(file.read_text(encoding="utf-8")) for file in [arm_result, *(check or [])]]
    print(tables(read[0], read[1:], read_log(logs or [])))


@app.command()
def report(
    logs: Annotated[list[Path], typer.Argument(help="Logs of decode and prefill.")],
    max_others: Annotated[
        float, typer.Option(help="Leave out samples beside which others took more cores.")
    ] = 0.2,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures.")] = None,
) -> None:
    """Print tables and bars of logs as Markdown; draw them."""
    from benchmarks.bars import bars
    from benchmarks.report import tables
    from benchmarks.rounds import read_log

    lines = read_log(logs)
    print(tables(lines, max_others))
    if found := bars(lines, max_others):
        print(f"\n**Bars**\n\n{found}")
    if plots is not None:
        from benchmarks.plots import draw

        for file in draw(lines, max_others, plots):
            print(file, file=sys.stderr)


def _measure(
    sizes: str,
    forms: str,
    peers: str,
    tvm: str,
    threads: str,
    rounds: int,
    tests: list[tuple[int, int]],
    log: Path,
    patience: float,
) -> None:
    from benchmarks.report import tables
    from benchmarks.rounds import Log, measure, read_log
    from benchmarks.rows import Test, rows_of

    rows = rows_of(_words(sizes), _words(forms), _words(peers), _words(tvm))
    with ProgressBar("measuring") as bar:
        measure(
            rows,
            [Test(*test) for test in tests],
            [int(count) for count in _words(threads)],
            rounds,
            Log(log, _command()),
            patience_secs=patience,
            progress=bar,
        )
    print(tables(read_log([log]), max_others=99))


def write_json(file: Path, result: object) -> None:
    """Write a result; the file appears whole."""
    import json

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result, indent=1) + "\n")


def _command() -> str:
    return "python -m benchmarks.run " + shlex.join(sys.argv[1:])


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main() -> int:
    """Run the command line."""
    try:
        app()
    except C4nError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
