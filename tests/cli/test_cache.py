"""`tvm-c4n cache`: what is listed is what run compiled, and clear says what it freed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n.compile.cached import entries

SIZE = r"0\.\d\d MB"


def test_models_that_run_compiled_are_listed_and_cleared(
    call: Callable[..., Any],
    small_model: Path,
    small_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compile_model(model: Path, out: Path, **options: object) -> None:
        shutil.copytree(small_artifact, out)  # what the compiler would make of it

    monkeypatch.setattr("tvm_c4n.compile.artifact.compile_model", compile_model)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    empty = call("cache", "list")
    assert empty.out == f"{tmp_path}/tvm-c4n/artifacts: 0 models, 0.00 MB\n"
    args = ["run", small_model, "-p", "w1", "-n", "2", "-t", "1"]
    text = call(*args).out
    listed = call("cache", "list")
    assert (listed.code, listed.err) == (0, "")
    title, head, row = listed.out.splitlines()
    assert re.fullmatch(rf"{tmp_path}/tvm-c4n/artifacts: 1 model, {SIZE}", title)
    assert head.split() == ["model", "size", "last", "used"]
    assert re.fullmatch(rf"{small_model.name} +{SIZE} +\d{{4}}-\d\d-\d\d \d\d:\d\d", row)
    os.utime(entries()[0].folder, (1000, 1000))
    assert call(*args).out == text
    assert entries()[0].used > 1000  # a use is noted
    removed, freed = call("cache", "clear", small_model.name).out.splitlines()
    assert re.fullmatch(rf"removed {small_model.name}, {SIZE}", removed)
    assert re.fullmatch(rf"freed {SIZE}", freed)
    assert call("cache", "list").out == empty.out
    assert call("cache", "clear").out == "freed 0.00 MB\n"
    again = call(*args)
    assert again.out == text and again.err.startswith("compiling")
