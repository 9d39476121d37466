"""`tvm-c4n doctor`: a line for each thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_the_verb_prints_a_line_for_each(call: Callable[..., Any]) -> None:
    shown = call("doctor")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("tvm_c4n:               0.1.0, Python 3.")
    assert max(map(len, lines)) <= 110
