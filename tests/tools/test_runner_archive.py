"""The packed runner runs from its archive alone, and is packed to the same bytes each time."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module."""
    monkeypatch.syspath_prepend(TOOLS)
    return import_module("runner_archive")


@pytest.mark.phone
def test_it_runs_from_the_archive(tool: ModuleType, arm_runner: Path, tmp_path: Path) -> None:
    archive = tmp_path / "runner.tar.xz"
    archive.write_bytes(tool.pack(arm_runner))
    assert tool.help_of(archive).startswith("usage: c4n_run ARTIFACT -p TEXT")


def test_the_same_files_give_the_same_bytes(tool: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "include").mkdir(parents=True)
    (first / "include" / "c4n.h").write_text("int c4n_open(void);\n")
    (first / "c4n_run").write_text("program")
    (first / "c4n_run").chmod(0o755)
    shutil.copytree(first, second, copy_function=shutil.copyfile)
    (second / "c4n_run").chmod(0o755)
    assert tool.pack(first) == tool.pack(second)
    (second / "c4n_run").chmod(0o644)
    assert tool.pack(first) != tool.pack(second)
