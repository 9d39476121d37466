"""Every row of the table of error lines is what the program says, and nothing is left behind."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.errors.case import Case
from tests.cli.errors.cases import TABLE
from tests.hub import Hub

CASES = [
    pytest.param(case, id=f"{place}: {case.wrong}")
    for place, cases in TABLE.items()
    if place != "c4n_run"
    for case in cases
]


def hide(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a module look as if it were not installed, and forget who has imported it."""
    monkeypatch.setitem(sys.modules, name, None)
    for loaded in list(sys.modules):
        if loaded.startswith(("tvm_c4n.tuning", "tvm_c4n.cli.tune")):
            monkeypatch.delitem(sys.modules, loaded)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("case", CASES)
def test_a_command_that_is_refused(
    case: Case,
    furnished: Path,
    hub_of_errors: Hub,
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if case.spoil:
        case.spoil(furnished)
    if case.missing:
        hide(monkeypatch, case.missing)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    # A busy machine adds a sentence to what tune says.
    monkeypatch.setattr("tvm_c4n.runtime.contention.cores_available", lambda _: True)
    before = files(furnished)
    stdin = case.stdin.encode(errors="surrogateescape")
    result = call(*shlex.split(case.command), stdin=stdin)
    said = result.err.replace(str(furnished), "HERE").replace(platform.machine(), "MACHINE")
    said = said.replace(hub_of_errors.url, "HUB").replace(str(hub_of_errors.cache), "CACHE")
    said = re.sub(r"this one is [0-9a-f]{12}\b", "this one is FINGERPRINT", said)
    assert (said, result.code, result.out) == (f"error: {case.line}\n", case.code, "")
    assert files(furnished) == before


@pytest.mark.parametrize("case", TABLE["c4n_run"], ids=lambda case: case.wrong)
def test_what_the_runner_refuses(case: Case, furnished: Path, host_runner: Path) -> None:
    done = subprocess.run(
        [host_runner, *shlex.split(case.command)[1:]],
        input=case.stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stderr, done.returncode) == (f"error: {case.line}\n", case.code)
    assert done.stdout == ""


def test_no_row_comes_twice_and_every_verb_has_some() -> None:
    from tvm_c4n.cli.verbs import VERBS

    # doctor takes nothing that could be wrong.
    verbs = set(VERBS) - {"doctor"}
    assert verbs <= set(TABLE)
    rows = [(case.command, case.line, case.wrong) for cases in TABLE.values() for case in cases]
    assert len(set(rows)) == len(rows) >= 100
