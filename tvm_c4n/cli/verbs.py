"""The verbs of `tvm-c4n`, and the options that stand before them."""

from __future__ import annotations

import logging
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tvm_c4n.cli import ending
from tvm_c4n.errors import shown

# Function of each verb, in the order of --help.
VERBS = {
    "convert": "convert:convert",
    "plan": "plan:plan",
    "prune": "prune:prune",
    "heal": "heal:heal",
    "inspect": "inspect:inspect",
    "compile": "compile:compile_",
    "run": "run:run",
    "chat": "chat:chat",
    "serve": "serve:serve",
    "cache": "cache:cache",
    "eval": "eval:eval_",
    "bench": "bench:bench",
    "tune": "tune:tune",
    "records": "tune:records_",
    "runner": "runner:runner",
    "deploy": "deploy:deploy",
    "doctor": "doctor:doctor",
}
# Plain help is there at once; rich takes longer than all the rest.
_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}


class _Commands(UserDict[str, Any]):
    """Commands by name. A verb is imported when it is asked for: all of them take a while."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            module, function = VERBS[name].split(":")
            one = typer.Typer(add_completion=False, **_PLAIN)
            one.command(name=name)(getattr(import_module(f"tvm_c4n.cli.{module}"), function))
            self.data[name] = typer.main.get_command(one)
        return self.data[name]


class _Verbs(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(dict.fromkeys(VERBS) | dict(self.commands))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _with_value(error)
            raise


def _with_value(error: typer.BadParameter) -> str:
    """Name the value that is wrong: pydantic, which checks it in newer versions of typer, does not.

    "Input should be a valid integer, unable to parse string as an integer" says the same twice.
    """
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    first = error.__cause__.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ").split(", unable to parse")[0]
    return said.replace("Input should", f"{shown(str(first['input']))} should")


app = typer.Typer(
    cls=_Verbs,
    name="tvm-c4n",
    help="Prune state space language models to C4n sparsity (n of every 4 weights of a row "
    "removed), compile them for CPUs, and run them.",
    no_args_is_help=True,
    **_PLAIN,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tvm_c4n.cli.version import version_line

        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the versions of tvm-c4n, TVM and LLVM, and this CPU's kernels.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show tracebacks and libraries' logs; stands before the command."
        ),
    ] = False,
) -> None:
    """Read the options that stand before the command."""
    ending.show_tracebacks(debug)
    if logging.lastResort is not None:
        # What a library warns of, as matplotlib does when it builds its cache of fonts, is nothing
        # that a user did, and stderr is for what we say.
        logging.lastResort.setLevel(logging.WARNING if debug else logging.ERROR)
