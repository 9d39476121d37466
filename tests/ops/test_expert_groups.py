"""Pairs of tokens and experts are ordered by expert, and added up again."""

from __future__ import annotations

import numpy as np

from tests.ops.compiled import call_all
from tvm_c4n.ops import expert_groups
from tvm_c4n.ops.spec import GroupSpec, MixSpec, SpreadSpec

TOKENS, CHOSEN, EXPERTS, COLS = 7, 3, 6, 5


def test_there_and_back() -> None:
    rng = np.random.default_rng(0)
    chosen = np.stack([rng.permutation(EXPERTS - 1)[:CHOSEN] for _ in range(TOKENS)])
    places, starts = expert_groups.oracle(chosen, EXPERTS)
    x, residual = rng.normal(size=(2, TOKENS, COLS)).astype(np.float32)
    shares = rng.uniform(size=chosen.shape).astype(np.float32)
    pairs = np.empty((TOKENS * CHOSEN, COLS), np.float32)
    pairs[places] = x[:, None]
    empty = [np.empty_like(places), np.empty_like(starts)]
    group = expert_groups.define_group(GroupSpec(True, EXPERTS, CHOSEN))
    spread = expert_groups.define_spread(SpreadSpec(True, COLS, CHOSEN, "float32"))
    mix = expert_groups.define_mix(MixSpec(True, COLS, CHOSEN))
    found = call_all(
        {
            "group": (group, (chosen.astype(np.int32), *empty)),
            "spread": (spread, (x, places, np.empty_like(pairs))),
            "mix": (mix, (pairs, places, shares, residual, np.empty_like(x))),
        }
    )
    np.testing.assert_array_equal(found["group"][1], places)
    np.testing.assert_array_equal(found["group"][2], starts)
    assert starts[-2] == starts[-1] == TOKENS * CHOSEN  # nobody chose the last expert
    np.testing.assert_array_equal(found["spread"][-1], pairs)
    expected = residual + shares.sum(1, keepdims=True) * x
    np.testing.assert_allclose(found["mix"][-1], expected, rtol=1e-5, atol=1e-6)


def test_numbers_that_are_no_expert_have_a_place() -> None:
    chosen = np.array([[-5, 99], [1, 0]], np.int32)
    func = expert_groups.define_group(GroupSpec(True, 3, 2))
    out = np.empty((2, 2), np.int32), np.empty(4, np.int32)
    _, places, starts = call_all({"f": (func, (chosen, *out))})["f"]
    assert sorted(places.ravel()) == [0, 1, 2, 3]
    assert starts.tolist() == [0, 2, 3, 4]
