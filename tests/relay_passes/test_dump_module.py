"""DumpModule: what the two files say."""

from __future__ import annotations

from pathlib import Path

from relay_passes import DumpModule
from tests.relay_passes.c4n_layer import layer, weight_of


def test_dump_writes_the_module_and_its_counts(tmp_path: Path) -> None:
    mod = layer(weight_of("int8"))
    assert DumpModule(tmp_path / "d", "1_start")(mod).same_as(mod)
    script = (tmp_path / "d" / "1_start.py").read_text()
    assert script.startswith("# The values of constants are left out, so this does not parse;")
    assert "def main" in script
    counts = (tmp_path / "d" / "1_start.txt").read_text().split("\n")
    assert "     1  call_tir linear" in counts
    assert "     1  call_tir quantize" in counts
