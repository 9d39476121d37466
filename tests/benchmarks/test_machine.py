"""Programs compiled when they are needed."""

import pytest

from benchmarks import machine
from benchmarks.machine import compile_c
from tvm_c4n.errors import C4nError


def test_a_program_that_does_not_compile_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CACHE", tmp_path)
    source = tmp_path / "broken.c"
    source.write_text("int main( {")
    with pytest.raises(C4nError, match=r"broken\.c: "):
        compile_c(source)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(C4nError, match="install a C compiler"):
        compile_c(source)
