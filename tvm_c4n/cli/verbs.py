"""The verbs of `tvm-c4n`, and the options that stand before them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from tvm_c4n.cli import (
    bench,
    cache,
    chat,
    compile,
    convert,
    deploy,
    doctor,
    ending,
    eval,
    heal,
    inspect,
    plan,
    prune,
    run,
    runner,
    serve,
    tune,
)

app = typer.Typer(
    name="tvm-c4n",
    help="Prune state space language models to C4n sparsity (n of every 4 weights of a row "
    "removed), compile them for CPUs, and run them.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is there at once; rich takes longer than all the rest
    pretty_exceptions_enable=False,
)
app.command(name="convert")(convert.convert)
app.command(name="plan")(plan.plan)
app.command(name="prune")(prune.prune)
app.command(name="heal")(heal.heal)
app.command(name="inspect")(inspect.inspect)
app.command(name="compile")(compile.compile_)
app.command(name="run")(run.run)
app.command(name="chat")(chat.chat)
app.command(name="serve")(serve.serve)
app.command(name="cache")(cache.cache)
app.command(name="eval")(eval.eval_)
app.command(name="bench")(bench.bench)
app.command(name="tune")(tune.tune)
app.command(name="records")(tune.records_)
app.command(name="runner")(runner.runner)
app.command(name="deploy")(deploy.deploy)
app.command(name="doctor")(doctor.doctor)


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
