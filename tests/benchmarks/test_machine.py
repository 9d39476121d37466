"""CPU contention, and programs compiled when they are needed."""

import pytest

from benchmarks import machine
from benchmarks.machine import CpuContention, compile_c
from tvm_c4n.errors import C4nError


def test_own_work_is_no_contention(monkeypatch):
    ticks = iter([10.0, 13.0])
    monkeypatch.setattr(machine, "busy_secs", lambda: next(ticks))
    own = iter([1.0, 2.0])
    monkeypatch.setattr(machine, "own_secs", lambda: next(own))
    clock = iter([100.0, 104.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    with CpuContention() as others:
        pass
    assert others.cores == 0.5  # of 3 busy seconds 1 was ours, over 4 seconds


def test_a_program_that_does_not_compile_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CACHE", tmp_path)
    source = tmp_path / "broken.c"
    source.write_text("int main( {")
    with pytest.raises(C4nError, match=r"broken\.c: "):
        compile_c(source)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(C4nError, match="install a C compiler"):
        compile_c(source)
