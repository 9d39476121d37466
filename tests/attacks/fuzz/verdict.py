"""Judges how a command line ended on an input, and what it left."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.attacks.fuzz.forked import Outcome

# Lines on stderr that may stand before an error: what was being done for the first time.
_NOTES = re.compile(r"compiling .* for this CPU, once; kept in .*")
_TEMPORARY = re.compile(r"\..*(tmp|\.old|part)|\.link\..*|\.tensors.*")
# Verbs that need a device, and say with exit code 1 that there is none.
_NO_DEVICE = "rpc://127.0.0.1:1: [Errno 111] Connection refused"


def verdict(outcome: Outcome, left: Iterable[Path]) -> str:
    """Say what is wrong with an outcome; "" if nothing is.

    Parameters
    ----------
    outcome : Outcome
    left : iterable of Path
        Names of all files and folders that are there afterwards and were not before.
    """
    if outcome.timed_out:
        return "no end"
    if outcome.code < 0:
        return f"signal {-outcome.code}"
    lines = [line for line in outcome.err.splitlines() if not _NOTES.fullmatch(line)]
    if "Traceback (most recent call last)" in outcome.err:
        return "traceback"
    if any("Warning: " in line for line in lines):
        return "warning"
    temporary = [str(path) for path in left if _TEMPORARY.fullmatch(path.name)]
    if temporary:
        return f"left {temporary[0]}"
    if outcome.code == 0:
        return ""
    if outcome.code != 2 and not (outcome.code == 1 and _NO_DEVICE in outcome.err):
        return f"exit code {outcome.code}"
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"{len(lines)} lines"
    if not lines[0].isprintable():
        return "control characters"
    if "out" in {path.name for path in left}:
        return "a half result"
    return ""
