"""What a step and a prompt of the gated delta rule have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import DeltaSpec
from tvm_c4n.ops.tir import (
    LOG2_E,
    exp2,
    f32,
    load,
    local,
    sigmoid,
    softplus,
    store,
    vectors,
)


class Sums:
    """Vectors of sums in registers, one for each piece of columns: its first one and its width."""

    def __init__(self, columns: Sequence[tuple[Any, int]]) -> None:
        self._widths = [width for _, width in columns]
        self._held = [local((width,)) for width in self._widths]
        self.clear()

    def clear(self) -> None:
        """Start again from zeros."""
        for held, width in zip(self._held, self._widths, strict=True):
            store(held, (), 0, width, f32(0.0, width))

    def width(self, piece: int) -> int:
        """Return the lanes of a piece."""
        return self._widths[piece]

    def __getitem__(self, piece: int) -> Any:
        return load(self._held[piece], (), 0, self._widths[piece])

    def add(self, piece: int, value: Any) -> None:
        """Add a vector."""
        store(self._held[piece], (), 0, self._widths[piece], self[piece] + value)


def rates(spec: DeltaSpec, args: tuple[Any, ...], place: tuple[Any, Any], lanes: int) -> Any:
    """Return decays of `lanes` heads, and what share is corrected; `place`: token, first head."""
    _, alpha, beta, a, bias, *_ = args
    t, head = place
    raw = load(alpha, (t,), head, lanes) + load(bias, (), head, lanes)
    power = softplus(raw, lanes) * load(a, (), head, lanes) * f32(LOG2_E, lanes)
    return exp2(power, lanes), T.bind(sigmoid(load(beta, (t,), head, lanes), lanes))


def dot(x: Any, at: tuple[Any, ...], y: Any, to: tuple[Any, ...], count: int, lanes: int) -> Any:
    """Return the product of two rows of `count` elements; `at` and `to` are their places."""
    sums = local((lanes,))
    store(sums, (), 0, lanes, f32(0.0, lanes))

    def add(start: Any, width: int) -> None:
        value = load(x, at, start, width) * load(y, to, start, width)
        store(sums, (), 0, width, load(sums, (), 0, width) + value)

    vectors(count, lanes, add)
    total: Any = sums[0]
    for lane in range(1, lanes):
        total = total + sums[lane]
    return T.bind(total)


def unit_factor(spec: DeltaSpec, qkv: Any, place: tuple[Any, Any], scale: float, lanes: int) -> Any:
    """Return what makes a head's length `scale`; `place` is the token and its first column."""
    t, first = place
    sums = local((lanes,))
    store(sums, (), 0, lanes, f32(0.0, lanes))

    def add(start: Any, width: int) -> None:
        value = T.bind(load(qkv, (t,), first + start, width))
        store(sums, (), 0, width, load(sums, (), 0, width) + value * value)

    vectors(spec.key_dim, lanes, add)
    total: Any = sums[0]
    for lane in range(1, lanes):
        total = total + sums[lane]
    return T.bind(T.float32(scale) / T.sqrt(total + T.float32(spec.eps)))
