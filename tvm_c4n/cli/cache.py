"""`tvm-c4n cache`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from tvm_c4n.cli.console import megabytes, print_table
from tvm_c4n.errors import C4nError

_ACTIONS = ("list", "clear")


def cache(
    action: Annotated[str, typer.Argument(help="list, or clear.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Of models that clear removes [all].")
    ] = None,
) -> None:
    """Show or remove the models that were compiled when they were first used."""
    if action not in _ACTIONS:
        raise C4nError(f"cache {action}: use 'cache list' or 'cache clear'")
    if action == "list":
        if names:
            raise C4nError("cache list shows all models: leave the names out")
        _list()
    else:
        _clear(names or [])


def _list() -> None:
    from tvm_c4n.compile.cache import artifacts_folder
    from tvm_c4n.compile.cached import entries

    found = entries()
    rows = [
        [entry.name, megabytes(entry.size_bytes), f"{datetime.fromtimestamp(entry.used):%F %R}"]
        for entry in found
    ]
    total = megabytes(sum(entry.size_bytes for entry in found))
    models = f"{len(rows)} model{'s' * (len(rows) != 1)}"
    title = f"{artifacts_folder()}: {models}, {total}"
    if rows:
        print_table(title, ["model", "size", "last used"], rows)
    else:
        typer.echo(title)


def _clear(names: list[str]) -> None:
    from tvm_c4n.compile.cached import named, remove

    freed = 0
    for entry in named(names):
        if remove(entry):
            freed += entry.size_bytes
            typer.echo(f"removed {entry.name}, {megabytes(entry.size_bytes)}")
        else:
            typer.echo(f"kept {entry.name}: another process is compiling it")
    typer.echo(f"freed {megabytes(freed)}")
