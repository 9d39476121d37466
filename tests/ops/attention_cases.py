"""Arguments of attention and what float64 makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tvm_c4n.ops import attention, rotary
from tvm_c4n.ops.ring import ring_shapes
from tvm_c4n.ops.spec import AttentionSpec

LAYER = 1
GRANITE = AttentionSpec(
    dynamic=False, heads=12, kv_heads=4, head_dim=64, layers=2, context=128, scale=1 / 64,
    rotary=0, half=True,
)  # fmt: skip
# Falcon-H1's heads, all of their elements rotated.
FALCON = replace(GRANITE, heads=8, kv_heads=2, context=192, scale=0.125, rotary=64)
# One head of keys, a part rotated, gates, no vector that fits; and no heads that share keys.
ODD = replace(
    GRANITE, heads=5, kv_heads=1, head_dim=22, context=64, scale=0.2, rotary=10, gated=True
)
ALONE = replace(GRANITE, heads=3, kv_heads=3, head_dim=16, context=64, rotary=16)


@dataclass
class Case:
    """One call: its arguments in order, and what out and the layer's ring are afterwards."""

    spec: AttentionSpec
    arguments: list[Any]
    expected: tuple[Any, Any, Any]

    def check(self, found: list[Any]) -> None:
        """Compare the arguments after a call with what is expected."""
        *_, keys, values, _, out = found
        expected, *ring = self.expected
        # A rotated key may be rounded to the float16 next to it.
        tolerance = 2e-3 if self.spec.half and self.spec.rotary else 2e-5
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=tolerance)
        for state, after, tolerance in zip((keys, values), ring, (1e-3, 1e-7), strict=True):
            state = state.view(np.float16) if self.spec.half else state
            np.testing.assert_allclose(state[LAYER], after, rtol=tolerance, atol=1e-6)
        before = self.arguments[-4:-2]
        for state, old in zip((keys, values), before, strict=True):
            np.testing.assert_array_equal(state[1 - LAYER], old[1 - LAYER])


def make(spec: AttentionSpec, tokens: int, position: int) -> Case:
    """A call of `tokens` tokens after `position` others, with any numbers in the ring."""
    rng = np.random.default_rng(tokens)
    spec = replace(spec, dynamic=tokens > 1)
    widths = [n * spec.head_dim for n in (spec.heads, spec.kv_heads, spec.kv_heads)]
    qkv = tuple(rng.normal(size=(tokens, width)).astype(np.float32) * 2 for width in widths)
    angles = None
    if spec.rotary:
        frequencies = rotary.frequencies(spec.rotary, 10000.0)
        angles = rotary.oracle(frequencies, max(position, 0), tokens).astype(np.float32)
    gates = rng.normal(size=(tokens, 2 * widths[0])).astype("f4") * 3 if spec.gated else None
    ring = [
        rng.normal(size=shape).astype("f2" if spec.half else "f4") for shape in ring_shapes(spec)
    ]
    layer = (ring[0][LAYER], ring[1][LAYER])
    return Case(
        spec,
        [
            *qkv,
            *(x for x in (angles, gates) if x is not None),
            np.array([position], np.int32),
            *(x.view("u2") if spec.half else x for x in ring),
            LAYER,
            np.full((tokens, widths[0]), np.nan, np.float32),
        ],
        attention.oracle(spec, qkv, angles, max(position, 0), layer, gates),
    )
