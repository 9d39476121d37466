"""DumpModule: what the two files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_passes import DumpModule
from tests.compile.test_any_module import Branches
from tests.relay_passes.c4n_layer import layer, weight_of
from tvm_c4n._tvm import tvm
from tvm_c4n.compile.build import build


def test_dump_writes_the_module_and_its_counts(tmp_path: Path) -> None:
    mod = layer(weight_of("int8"))
    assert DumpModule(tmp_path / "d", "1_start")(mod).same_as(mod)
    script = (tmp_path / "d" / "1_start.py").read_text()
    assert script.startswith("# The values of constants are left out, so this does not parse;")
    assert "def main" in script
    counts = (tmp_path / "d" / "1_start.txt").read_text().split("\n")
    assert "     1  call_tir linear" in counts
    assert "     1  call_tir quantize" in counts


def test_what_tvm_plans_for_two_branches_is_called_that(tmp_path: Path) -> None:
    """If TVM's planner learns to keep branches apart, this and the line can go."""
    build(Branches, debug_dump=tmp_path)
    first = {path.stem: path.read_text().split("\n", 1)[0] for path in tmp_path.glob("*.py")}
    assert first.pop("9_memory") == (
        "# TVM's memory plan shares storage between two branches here, which its parser refuses."
    )
    assert set(first.values()) == {"# from tvm.script import ir as I"}
    with pytest.raises(tvm.error.DiagnosticError):
        tvm.script.from_source((tmp_path / "9_memory.py").read_text())
