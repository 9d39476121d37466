"""Batched operators: each token goes on from the state of its own slot, and no other changes."""

from __future__ import annotations

import numpy as np

from tests.ops.batched_cases import cases
from tests.ops.compiled import call_all
from tvm_c4n._tvm import T
from tvm_c4n.ops.slots import sequences
from tvm_c4n.ops.spec import ConvSpec, spec_of
from tvm_c4n.ops.tir import build


def test_definitions_equal_the_oracles_of_each_sequence() -> None:
    made = cases()
    calls = {name: (c.define(c.spec), tuple(c.arguments)) for name, c in made.items()}
    found = call_all(calls)
    for name, case in made.items():
        case.check(found[name])


def test_an_operator_of_one_text_says_nothing_of_batches() -> None:
    """Else the records of tuning of before would not find it."""
    alone, batched = (ConvSpec(True, 4, 4, 2, 8, batched=b) for b in (False, True))
    assert "batched" not in alone.values()
    assert spec_of(build(batched, "f", lambda: T.evaluate(0))) == batched
    assert (alone.prefill, batched.prefill) == (True, False)


def test_a_text_has_all_tokens_or_each_token_is_of_another_text() -> None:
    assert sequences(None, 7) == (1, 7)
    assert sequences(np.zeros(3), 7) == (3, 1)
