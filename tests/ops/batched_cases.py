"""Arguments of batched operators, and what float64 makes of each sequence by itself.

Five tokens, of which the first three belong to the slots 2, 0 and 3 of four; layer 1 of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_c4n.ops import advance, attention, conv1d, delta_rule, rotary, selective_scan, ssd_scan
from tvm_c4n.ops.ring import ring_shapes
from tvm_c4n.ops.slots import with_slots
from tvm_c4n.ops.spec import (
    AdvanceSpec,
    AttentionSpec,
    ConvSpec,
    DeltaSpec,
    OpSpec,
    RotarySpec,
    ScanSpec,
    SsdSpec,
)

TOKENS, COUNT, LAYERS, LAYER = 5, 4, 2, 1
SLOTS = np.array([2, 0, 3], np.int32)
OWN = slice(len(SLOTS))


@dataclass
class BatchedCase:
    """One call; `expected` by the number of an argument: what it is afterwards, rounded so far."""

    spec: OpSpec
    define: Callable[[Any], Any]
    arguments: list[Any]
    expected: dict[int, Any]
    tolerance: float = 1e-4

    def check(self, found: list[Any]) -> None:
        """Compare with the arguments after a call; what tokens without a slot give is anything."""
        last = len(self.arguments) - 1
        for index, expected in self.expected.items():
            now = (
                found[index][OWN] if index == last and len(expected) == len(SLOTS) else found[index]
            )
            if now.dtype == np.uint16:
                now = now.view(np.float16)
            np.testing.assert_allclose(now, expected, rtol=1e-4, atol=self.tolerance)
        # What belongs to no token of the call is as it was, bit by bit.
        for index, before in enumerate(self.arguments):
            if isinstance(before, np.ndarray) and before.shape[:2] == (LAYERS, COUNT):
                np.testing.assert_array_equal(found[index][:, 1], before[:, 1])
                np.testing.assert_array_equal(found[index][1 - LAYER], before[1 - LAYER])


def conv(channels: int, first: int = 0, *, gated: bool = False) -> BatchedCase:
    """A convolution."""
    rng, read = np.random.default_rng(channels), channels * (3 if gated else 1)
    x = rng.normal(size=(TOKENS, first + read + 3)).astype("f4")
    taps, bias = rng.normal(size=(4, channels)).astype("f4"), rng.normal(size=channels).astype("f4")
    state = rng.normal(size=(LAYERS, COUNT, 3, channels)).astype("f4")
    y, after = np.zeros((len(SLOTS), channels)), state.copy()
    for t, slot in enumerate(SLOTS):
        own, past = x[t : t + 1, first : first + read], state[LAYER, slot]
        y[t], after[LAYER, slot] = conv1d.oracle(own, taps, bias, past, gated=gated)
    spec = ConvSpec(True, channels, 4, LAYERS, x.shape[1], first, gated, batched=True)
    out = np.zeros((TOKENS, channels), "f4")
    arguments = [x, taps, bias, state, LAYER, SLOTS, out]
    return BatchedCase(spec, conv1d.define, arguments, {6: y, 3: after})


def scan(channels: int, half: bool) -> BatchedCase:
    """Mamba-1's scan."""
    rng = np.random.default_rng(channels)
    dt, x = rng.normal(size=(2, TOKENS, channels)).astype("f4")
    bc = rng.normal(size=(TOKENS, 2 + 8)).astype("f4")
    xz = rng.normal(size=(TOKENS, 2 * channels)).astype("f4")
    a = -np.exp(rng.normal(size=(4, channels))).astype("f2" if half else "f4")
    d = rng.normal(size=channels).astype("f4")
    state = rng.normal(size=(LAYERS, COUNT, 4, channels)).astype("f4")
    y, after = np.zeros((len(SLOTS), channels)), state.copy()
    for t, slot in enumerate(SLOTS):
        own = slice(t, t + 1)
        z = xz[own, channels:]
        y[t], after[LAYER, slot] = selective_scan.oracle(
            dt[own], x[own], bc[own, 2:6], bc[own, 6:], z, a, d, state[LAYER, slot]
        )
    spec = ScanSpec(True, channels, 4, LAYERS, 2, half, batched=True)
    out = np.zeros((TOKENS, channels), "f4")
    arguments = [dt, x, bc, xz, a.view("u2") if half else a, d, state, LAYER, SLOTS, out]
    return BatchedCase(spec, selective_scan.define, arguments, {9: y, 6: after})


def ssd(heads: int, head_dim: int, half: bool) -> BatchedCase:
    """Mamba-2's scan."""
    rng = np.random.default_rng(heads)
    spec = SsdSpec(True, heads, head_dim, 16, LAYERS, groups=1, half=half, batched=True)
    widths = (spec.inner, spec.bc_width, 2 * spec.inner, spec.bc_width + heads)
    x, bc, zx, bcdt = (rng.normal(size=(TOKENS, width)).astype("f4") for width in widths)
    a, bias, d = rng.normal(size=(3, heads)).astype("f4")
    a = -np.exp(a)
    state = rng.normal(size=(LAYERS, COUNT, heads, 16, head_dim)).astype("f2" if half else "f4")
    y, after = np.zeros((len(SLOTS), spec.inner)), state.copy()
    for t, slot in enumerate(SLOTS):
        own = slice(t, t + 1)
        z, dt = zx[own, : spec.inner], bcdt[own, spec.bc_width :]
        y[t], after[LAYER, slot] = ssd_scan.oracle(
            spec, x[own], bc[own], z, dt, a, bias, d, state[LAYER, slot]
        )
    kept = state.view("u2") if half else state
    out = np.zeros((TOKENS, spec.inner), "f4")
    arguments = [x, bc, zx, bcdt, a, bias, d, kept, LAYER, SLOTS, out]
    # float16 has 11 bits.
    return BatchedCase(spec, ssd_scan.define, arguments, {10: y, 7: after}, 4e-3 if half else 1e-4)


def delta(heads: int, head_dim: int) -> BatchedCase:
    """The gated delta rule; pairs of heads share queries and keys."""
    rng = np.random.default_rng(heads)
    spec = DeltaSpec(True, heads, head_dim, heads // 2, 16, LAYERS, 1e-6, batched=True)
    qkv = rng.normal(size=(TOKENS, 2 * spec.keys + spec.inner)).astype("f4")
    alpha, beta = rng.normal(size=(2, TOKENS, heads)).astype("f4")
    a, bias = rng.normal(size=(2, heads)).astype("f4")
    a = -np.exp(a)
    state = rng.normal(size=(LAYERS, COUNT, heads, 16, head_dim)).astype("f4")
    y, after = np.zeros((len(SLOTS), spec.inner)), state.copy()
    for t, slot in enumerate(SLOTS):
        own = slice(t, t + 1)
        y[t], after[LAYER, slot] = delta_rule.oracle(
            spec, qkv[own], alpha[own], beta[own], a, bias, state[LAYER, slot]
        )
    out = np.zeros((TOKENS, spec.inner), "f4")
    arguments = [qkv, alpha, beta, a, bias, state, LAYER, SLOTS, out]
    return BatchedCase(spec, delta_rule.define, arguments, {8: y, 5: after})


def attend(heads: int, kv_heads: int, turned: int, half: bool, gated: bool = False) -> BatchedCase:
    """Attention of texts that have 0, 63 and 130 tokens, of which the ring holds 64."""
    rng = np.random.default_rng(heads)
    spec = AttentionSpec(
        True, heads, kv_heads, 16, LAYERS, 64, 0.25, turned, half, gated, batched=True
    )
    widths = [n * 16 for n in (heads, kv_heads, kv_heads)]
    qkv = [rng.normal(size=(TOKENS, width)).astype("f4") for width in widths]
    position = np.array([[63, 7, 0, 130]], np.int32)
    places = position[0, SLOTS]
    frequencies = rotary.frequencies(turned, 10000.0) if turned else None
    angles = np.zeros((TOKENS, turned), "f4")
    ring = [
        rng.normal(size=with_slots(shape, COUNT)).astype("f2" if half else "f4")
        for shape in ring_shapes(spec)
    ]
    gates = rng.normal(size=(TOKENS, 2 * widths[0])).astype("f4") if gated else None
    y, after = np.zeros((len(SLOTS), widths[0])), [x.copy() for x in ring]
    for t, slot in enumerate(SLOTS):
        if frequencies is not None:
            angles[t] = rotary.oracle(frequencies, int(places[t]), 1)[0]
        own = tuple(x[t : t + 1] for x in qkv)
        place, layer = int(places[t]), (ring[0][LAYER, slot], ring[1][LAYER, slot])
        seen = angles[t : t + 1] if turned else None
        gate = None if gates is None else gates[t : t + 1]
        y[t], *new = attention.oracle(spec, own, seen, place, layer, gate)
        for state, value in zip(after, new, strict=True):
            state[LAYER, slot] = value
    kept = [x.view("u2") if half else x for x in ring]
    out = np.zeros((TOKENS, widths[0]), "f4")
    optional = [*([angles] if turned else []), *([] if gates is None else [gates])]
    inputs = [*qkv, *optional, position, *kept, LAYER, SLOTS, out]
    last = len(inputs) - 1
    expected = {last: y, last - 4: after[0], last - 3: after[1]}
    # A rotated key may be rounded to the float16 next to it.
    return BatchedCase(spec, attention.define, inputs, expected, 4e-3 if half else 1e-4)


def turns() -> BatchedCase:
    """Angles at the places 0, 100000 and 5."""
    frequencies = rotary.frequencies(16, 10000.0)
    position = np.array([[100000, 7, 0, 5]], np.int32)
    y = np.concatenate([rotary.oracle(frequencies, int(n), 1) for n in position[0, SLOTS]])
    arguments = [position, frequencies, SLOTS, np.zeros((TOKENS, 16), "f4")]
    return BatchedCase(RotarySpec(True, 16, batched=True), rotary.define, arguments, {3: y}, 1e-6)


def moved_on() -> BatchedCase:
    """Positions after a step."""
    position = np.array([[63, 7, 0, 130]], np.int32)
    after = np.array([[64, 7, 1, 131]], np.int32)
    spec = AdvanceSpec(True, batched=True)
    return BatchedCase(spec, advance.define, [SLOTS, position], {1: after})


def cases() -> dict[str, BatchedCase]:
    """All of them, with shapes that fill vectors and shapes that do not."""
    return {
        "conv": conv(64, first=64),
        "conv_odd": conv(5),
        "conv_gated": conv(64, gated=True),
        "scan": scan(64, half=True),
        "scan_odd": scan(5, half=False),
        "ssd": ssd(2, 32, half=False),
        "ssd_half": ssd(3, 5, half=True),
        "attention": attend(6, 2, 16, half=True),
        "attention_alone": attend(3, 3, 0, half=False, gated=True),
        "delta": delta(4, 32),
        "delta_odd": delta(2, 5),
        "rotary": turns(),
        "advance": moved_on(),
    }
