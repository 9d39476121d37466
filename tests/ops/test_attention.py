"""The plain definition of attention against its oracle, and the oracle against a plain softmax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.ops.attention_cases import ALONE, FALCON, GRANITE, ODD, make
from tests.ops.compiled import call
from tvm_c4n.ops import attention, rotary
from tvm_c4n.ops.ring import ring_shapes
from tvm_c4n.ops.spec import AttentionSpec

INT32_MAX = 2**31 - 1


@pytest.mark.parametrize(
    ("spec", "tokens", "position"),
    [
        (GRANITE, 1, 0),
        (FALCON, 1, 200),
        (replace(FALCON, half=False), 5, 3),
        (ODD, 3, 62),  # around the end of the ring
        (ODD, 70, 11),  # more than the ring holds
        (ALONE, 2, INT32_MAX),
        (ALONE, 2, -5),  # as 0
    ],
)
def test_definition(spec: AttentionSpec, tokens: int, position: int) -> None:
    case = make(spec, tokens, position)
    case.check(call(attention.define(case.spec), *case.arguments))


def test_oracle_is_a_softmax_over_the_past() -> None:
    """Two calls of 3 and 4 tokens are one text of 7, each token's heads by the formula."""
    spec = AttentionSpec(True, 4, 2, 6, 1, 64, 0.3, 4, False)
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(7, n, 6)) for n in (4, 2, 2))
    angles = rotary.oracle(rotary.frequencies(4, 100.0), 0, 7)
    ring: Any = [np.full(s[1:], 9.0) for s in ring_shapes(spec)]
    outs = []
    for part in (slice(0, 3), slice(3, 7)):
        qkv = tuple(x[part].reshape(len(x[part]), -1) for x in (q, k, v))
        out, *ring = attention.oracle(spec, qkv, angles[part], part.start, tuple(ring))
        outs.append(out)
    # A pair of elements is a complex number, which a place turns by its angle.
    turns = (angles[:, :2] + 1j * angles[:, 2:])[:, None]
    q, k = (x.copy() for x in (q, k))
    for x in (q, k):
        turned = (x[..., :2] + 1j * x[..., 2:4]) * turns
        x[..., :2], x[..., 2:4] = turned.real, turned.imag
    expected = np.zeros((7, 4, 6))
    for t in range(7):
        for h in range(4):
            weights = np.exp(0.3 * k[: t + 1, h // 2] @ q[t, h])
            expected[t, h] = weights @ v[: t + 1, h // 2] / weights.sum()
    np.testing.assert_allclose(np.concatenate(outs), expected.reshape(7, -1), rtol=1e-12)


def test_a_token_of_which_nothing_is_left_gives_zeros() -> None:
    case = make(ODD, 70, 0)
    out = case.expected[0]
    assert not out[:6].any()
    assert out[6:].any(1).all()
