"""A missing extra is one line with the command that installs it, before any work."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.extras import EXTRAS, pip_command, require

ROOT = Path(__file__).parents[1]


def hide(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a module look as if it were not installed, and forget who has imported it."""
    monkeypatch.setitem(sys.modules, name, None)
    for loaded in list(sys.modules):
        if loaded.startswith(("tvm_c4n.tuning", "tvm_c4n.cli.tune")):
            monkeypatch.delitem(sys.modules, loaded)


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        packages = {re.split(r"[^\w-]", line)[0] for line in declared[extra]}
        named = {package.removesuffix("-cpu").replace("-", "_") for package in packages}
        assert set(modules) == named
    assert set(declared) - set(EXTRAS) == {"docs", "dev"}


def test_what_is_there_passes_and_what_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "bench", ("json", "no_such_module", "nor_this"))
    message = "drawing needs no_such_module and nor_this: pip install 'tvm-c4n[bench]'"
    with pytest.raises(C4nError, match=re.escape(message)):
        require("bench", "drawing")
    monkeypatch.setitem(EXTRAS, "bench", ("json",))
    require("bench", "drawing")


@pytest.mark.parametrize(
    ("args", "module", "extra"),
    [
        (["tune", "{model}", "--records", "{tmp}/r", "--local"], "xgboost", "tune"),
        (["prune", "{model}", "-o", "{tmp}/out"], "torch", "prune"),
        (["prune", "{model}", "-o", "{tmp}/out"], "scipy", "prune"),
        (
            ["heal", "{tmp}", "-o", "{tmp}/out", "--teacher", "{model}", "--data", "x"],
            "torch",
            "prune",
        ),
        (["eval", "{model}", "--backend", "torch"], "torch", "prune"),
    ],
)
def test_each_verb_says_it_before_it_works(
    call: Callable[..., Any],
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    module: str,
    extra: str,
) -> None:
    hide(monkeypatch, module)
    result = call(*(arg.format(model=small_model, tmp=tmp_path) for arg in args))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"needs {module}: {pip_command(extra)}" in result.err
    assert list(tmp_path.iterdir()) == []
