"""A missing extra is one line with the command that installs it, before any work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.extras import EXTRAS, require

ROOT = Path(__file__).parents[1]


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        packages = {re.split(r"[^\w-]", line)[0] for line in declared[extra]}
        named = {package.removesuffix("-cpu").replace("-", "_") for package in packages}
        assert set(modules) == named
    assert set(declared) - set(EXTRAS) == {"dev", "dist", "docs"}


def test_what_is_there_passes_and_what_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "bench", ("json", "no_such_module", "nor_this"))
    message = "drawing needs no_such_module and nor_this: pip install 'tvm-c4n[bench]'"
    with pytest.raises(C4nError, match=re.escape(message)):
        require("bench", "drawing")
    monkeypatch.setitem(EXTRAS, "bench", ("json",))
    require("bench", "drawing")
