"""Options that exclude or need each other: refused before work starts, never ignored."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from tvm_c4n.errors import C4nError


def refuse_together(context: typer.Context, one: str, others: Sequence[str], why: str) -> None:
    """Refuse an option beside others that say the same thing differently.

    Parameters
    ----------
    context : typer.Context
    one, others : str
        Names of parameters of the command's function.
    why : str
        What they have in common, for the message.

    Raises
    ------
    C4nError
        The user gave `one` and one of the others.
    """
    for other in others:
        if _given(context, one) and _given(context, other):
            first, second = _spelling(context, one), _spelling(context, other)
            raise C4nError(f"{first} and {second} exclude each other: {why}; give one of them")


def refuse_without(context: typer.Context, options: Sequence[str], needed: str, met: bool) -> None:
    """Refuse options that would say nothing because what they belong to is missing.

    Parameters
    ----------
    context : typer.Context
    options : sequence of str
        Names of parameters of the command's function.
    needed : str
        What they belong to, for the message.
    met : bool
        Whether it is there.

    Raises
    ------
    C4nError
        The user gave one of the options, and it is not.
    """
    for option in options:
        if not met and _given(context, option):
            raise C4nError(f"{_spelling(context, option)} needs {needed}")


def _given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was given, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _spelling(context: typer.Context, name: str) -> str:
    """Return the long spelling of a parameter's option."""
    parameter = next(p for p in context.command.params if p.name == name)
    return max(parameter.opts, key=len)
