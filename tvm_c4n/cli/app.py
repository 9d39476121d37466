"""The entry point `tvm-c4n`: the verbs, and what happens when one of them fails."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from tvm_c4n._version import __version__
from tvm_c4n.cli import bench, compile, deploy, eval, heal, inspect, prune, run, runner, tune
from tvm_c4n.errors import C4nError

app = typer.Typer(
    name="tvm-c4n",
    help="Prune Mamba language models to C4n sparsity (n of every 4 weights of a row removed), "
    "compile them for CPUs, and run them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help is there at once; rich takes longer than all the rest
    pretty_exceptions_enable=False,
)
app.command(name="prune")(prune.prune)
app.command(name="heal")(heal.heal)
app.command(name="inspect")(inspect.inspect)
app.command(name="compile")(compile.compile_)
app.command(name="run")(run.run)
app.command(name="eval")(eval.eval_)
app.command(name="bench")(bench.bench)
app.command(name="tune")(tune.tune)
app.command(name="records")(tune.records_)
app.command(name="runner")(runner.runner)
app.command(name="deploy")(deploy.deploy)

_state = {"traceback": False, "interrupted": False}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tvm-c4n {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; stands before the command.")
    ] = False,
) -> None:
    """Read the options that stand before the command."""
    _state["traceback"] = debug


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code.

    Exit codes: 0 done, 1 a failure of the program or of a device, 2 an error of the user's, 130
    interrupted.
    """
    _state["traceback"] = _state["interrupted"] = False
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except C4nError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has gone. What Python still holds back for it must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if _state["traceback"]:
            raise
        first = str(error).strip().split("\n")[0]
        cause = f"{type(error).__name__}: {first}" if first else type(error).__name__
        _fail(f"{cause} (run again with --debug: tvm-c4n --debug ...)", 1)


def _fail(message: str, code: int) -> None:
    """Print one line and leave; with --debug the handled exception propagates."""
    if _state["traceback"]:
        raise
    if _state["interrupted"]:
        sys.exit(130)
    one_line = " ".join(message.split())
    print(f"error: {one_line}", file=sys.stderr)
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; what TVM's C++ makes of it on the way may be another exception."""
    _state["interrupted"] = True
    signal.default_int_handler(number, frame)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave as after an error, so that half-written folders are removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
