"""`tvm-c4n cache`: what is listed is what run compiled, and clear says what it freed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_models_that_run_compiled_are_listed_and_cleared(
    call: Callable[..., Any], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    empty = call("cache", "list")
    assert empty.out == f"{tmp_path}/tvm-c4n/artifacts: 0 models, 0.00 MB\n"
    args = ["run", small_model, "-p", "w1", "-n", "2", "-t", "1"]
    text = call(*args).out
    listed = call("cache", "list")
    assert (listed.code, listed.err) == (0, "")
    title, head, row = listed.out.splitlines()
    size = r"0\.\d\d MB"
    assert re.fullmatch(rf"{tmp_path}/tvm-c4n/artifacts: 1 model, {size}", title)
    assert head.split() == ["model", "size", "last", "used"]
    assert re.fullmatch(rf"{small_model.name} +{size} +\d{{4}}-\d\d-\d\d \d\d:\d\d", row)
    cleared = call("cache", "clear", small_model.name)
    removed, freed = cleared.out.splitlines()
    assert re.fullmatch(rf"removed {small_model.name}, {size}", removed)
    assert re.fullmatch(rf"freed {size}", freed)
    assert call("cache", "list").out == empty.out
    assert call("cache", "clear").out == "freed 0.00 MB\n"
    again = call(*args)
    assert again.out == text and again.err.startswith("compiling")


def test_a_use_is_noted(
    call: Callable[..., Any], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from tvm_c4n.compile.cached import entries

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    args = ["run", small_model, "-p", "w1", "-n", "2", "-t", "1"]
    assert call(*args).code == 0
    os.utime(entries()[0].folder, (1000, 1000))
    assert call(*args).code == 0
    assert entries()[0].used > 1000
