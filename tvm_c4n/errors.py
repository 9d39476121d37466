"""Errors that name cause and remedy in one line; the command line maps each to an exit code."""

from __future__ import annotations

# A path of the longest name that file systems take (255) and some folders before it stays whole.
_MAX_WORD = 400
_MAX_LINE = 1200
# The most of what a file says that a sentence quotes.
_SHOWN = 120


def one_line(text: str) -> str:
    """Make a text fit for one line of a terminal or a log.

    Line ends become spaces; control characters, which could forge other lines, are escaped; long
    names, and a long text, lose their middles.
    """
    words = ["".join(map(_printable, word)) for word in text.split()]
    return _cut(" ".join(_cut(word, _MAX_WORD) for word in words), _MAX_LINE)


def shown(text: object) -> str:
    """Quote what a file says: escaped, so that it stays on one line, and cut short."""
    quoted = ascii(text)
    return quoted if len(quoted) <= _SHOWN else quoted[:_SHOWN] + "...'"


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _cut(text: str, limit: int) -> str:
    """Cut the middle out: messages begin with where, and end with what to do."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}[...]{text[-half:]}"


class C4nError(Exception):
    """Base of every error that tvm_c4n raises on purpose.

    The message is one line, whatever it quotes (`one_line`): what is wrong, where, and what to do
    about it.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class RecipeError(C4nError):
    """A pruning request that cannot be carried out (unknown method, removed outside 0..3, ...)."""


class CheckpointError(C4nError):
    """A model folder or file that is missing, damaged, hostile or of an unsupported kind."""


class TargetError(C4nError):
    """A compilation target that is unknown or cannot be served on this machine."""


class ArtifactError(C4nError):
    """A compiled artifact that is missing, damaged or was made for another machine."""


class TuneError(C4nError):
    """A request to tune that cannot be carried out, or records that are damaged or do not fit."""


class DeviceError(C4nError):
    """A device that does not answer, refuses what it is asked, or runs nothing any more."""

    exit_code = 1
