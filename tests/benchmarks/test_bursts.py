"""Bursts: one kernel by itself, measured for a moment."""

from __future__ import annotations

import pytest

from benchmarks.bursts import Shape, measure, table
from benchmarks.shapes import Format


@pytest.mark.parametrize(("tokens", "mib"), [(1, 0), (3, 0), (1, 1)])
@pytest.mark.parametrize("form", ["int4-n2", "float16-n0"])
def test_a_burst_reads_the_packed_weights(form: str, tokens: int, mib: int) -> None:
    shape = Shape(64, 128, tokens, mib)
    found = measure(Format.parse(form), shape, secs=0.01)
    bits = {"int4-n2": 3.125, "float16-n0": 16}[form]
    assert found["weight_bytes"] == 64 * 128 * bits / 8
    assert found["bursts"] >= 1
    assert 0 < found["ns"]["0"] <= found["ns"]["50"]


def test_the_table_says_which_version_was_measured() -> None:
    run = {"type": "run", "cpu": "CPU", "compiler": "0123456789"}
    spread = {"0": 100.0, "5": 110.0}
    burst = {"type": "burst", "form": "int4-n2", "rows": 8, "cols": 100, "tokens": 2}
    lines = table([run, {**burst, "weight_bytes": 1000, "bursts": 9, "ns": spread}]).splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == [
        "CPU, compiler 012345",
        "int4-n2",
        "8x100",
        "2",
        "cache",
        "9",
        "10.0",
        "9.1",
        "16.0",
    ]
