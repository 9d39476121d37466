"""What a row of the table of error lines is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command that is refused, in a folder that `tests/cli/conftest.py` furnishes.

    The folder holds ``model`` (dense), ``pruned``, ``model.art`` (compiled) and ``text.jsonl``.

    Attributes
    ----------
    wrong : str
        What is wrong, for a reader.
    command : str
        What was typed, without ``tvm-c4n``; a line of the runner begins with ``c4n_run``.
    line : str
        What stderr says after ``error: ``. HERE is the folder, MACHINE the processor's kind,
        FINGERPRINT that of a compiled model, HUB a hub's address and CACHE its cache.
    code : int
        Exit code.
    spoil : callable, optional
        Makes the folder what the case needs.
    missing : str
        A module that is not installed.
    stdin : str
    """

    wrong: str
    command: str
    line: str
    code: int = 2
    spoil: Callable[[Path], object] | None = None
    missing: str = ""
    stdin: str = ""
