"""RMSNorm and the quantisation of activations: one pass over a token's columns."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import quantize, rms_norm
from tvm_c4n.ops.spec import OpSpec, QuantizeSpec, RmsNormSpec
from tvm_c4n.ops.tir import (
    Kernel,
    f32,
    load,
    local,
    loop,
    ramp,
    splat,
    store,
    tokens_of,
    typed,
    vectors,
)


class RmsNorm:
    """Vectors of columns; tokens in parallel."""

    name = "rms_norm"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, RmsNormSpec):
            return None
        lanes = intrin.lanes

        def body() -> None:
            tokens = tokens_of(spec)
            x, weight, out = rms_norm.declare(spec, tokens)
            count, first = rms_norm.rows(spec, tokens)
            if isinstance(count, int) and count == 1:
                self._columns(spec, (x, weight, out), first, lanes)
                return
            with loop(count, parallel=True) as m:
                factor = _norm_factor(spec, x, first + m, lanes)
                _scale((x, weight, out), factor, (first + m, m, 0), spec.cols, lanes)

        return Kernel(spec, "rms_norm", body)

    @staticmethod
    def _columns(spec: RmsNormSpec, buffers: tuple[Any, ...], token: Any, lanes: int) -> None:
        """One token: blocks of columns in parallel, each with a sum of its own.

        Adding up the squares again costs less than waiting for one core's sum.
        """
        blocks = next(b for b in (8, 4, 2, 1) if spec.cols % (b * lanes) == 0 or b == 1)
        width = spec.cols // blocks
        with T.parallel(blocks) as block:
            factor = _norm_factor(spec, buffers[0], token, lanes)
            _scale(buffers, factor, (token, 0, block * width), width, lanes)


def _norm_factor(spec: RmsNormSpec, x: Any, token: Any, lanes: int) -> Any:
    """Emit the sum of squares of a token; returns 1 / sqrt(mean + eps)."""
    sums = local((lanes,))
    store(sums, (), 0, lanes, f32(0.0, lanes))

    def add(start: Any, width: int) -> None:
        value = load(x, (token,), start, width)
        store(sums, (), 0, width, load(sums, (), 0, width) + value * value)

    vectors(spec.cols, lanes, add)
    total: Any = sums[0]
    for lane in range(1, lanes):
        total = total + sums[lane]
    mean = total * T.float32(1 / spec.cols)
    return T.bind(T.float32(1) / T.sqrt(mean + T.float32(spec.eps)))


def _scale(
    buffers: tuple[Any, ...], factor: Any, place: tuple[Any, Any, Any], count: int, lanes: int
) -> None:
    """Emit ``out = x * factor * weight`` for `count` columns.

    `place` is the token of x, the token of out, and the first column.
    """
    x, weight, out = buffers
    source, target, first = place

    def scale(start: Any, width: int) -> None:
        value = load(x, (source,), first + start, width) * splat(factor, width)
        scaled = value * load(weight, (), first + start, width)
        store(out, (target,), first + start, width, scaled)

    vectors(count, lanes, scale)


class Quantize:
    """Two passes over each group of columns: the largest magnitude, then the rounding."""

    name = "quantize"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, QuantizeSpec):
            return None
        lanes = intrin.lanes

        def body() -> None:
            tokens = tokens_of(spec)
            x, q, scales = quantize.declare(spec, tokens)
            whole, rest = divmod(spec.cols, spec.group)
            with loop(tokens, parallel=True) as m:
                if whole:
                    # One token: its groups in parallel.
                    with T.serial(whole) if spec.dynamic else T.parallel(whole) as s:
                        _group(spec, (x, q, scales), m, s, spec.group, lanes)
                if rest:
                    _group(spec, (x, q, scales), m, whole, rest, lanes)
                first = whole + (rest > 0)
                for s in range(first, spec.padded // spec.group):
                    _group(spec, (x, q, scales), m, s, 0, lanes)

        return Kernel(spec, "quantize", body)


def _group(
    spec: QuantizeSpec, buffers: tuple[Any, Any, Any], m: Any, s: Any, count: int, lanes: int
) -> None:
    """Quantise `count` columns of group s; the group's other columns become zero."""
    x, q, scales = buffers
    start = s * spec.group
    tops = local((lanes,))
    store(tops, (), 0, lanes, f32(0.0, lanes))

    def widen(offset: Any, width: int) -> None:
        value = T.bind(load(x, (m,), start + offset, width))
        magnitude = T.max(value, f32(0.0, width) - value)
        store(tops, (), 0, width, T.max(load(tops, (), 0, width), magnitude))

    vectors(count, lanes, widen)
    largest: Any = tops[0]
    for lane in range(1, lanes):
        largest = T.max(largest, tops[lane])
    top = T.bind(largest)
    T.buffer_store(scales, top * T.float32(1 / quantize.TOP), [m, s])
    inverse = T.bind(T.Select(top > T.float32(0), T.float32(quantize.TOP) / top, T.float32(0)))

    def convert(offset: Any, width: int) -> None:
        value = load(x, (m,), start + offset, width) * splat(inverse, width)
        rounded = T.cast(T.nearbyint(value), typed("int32", width))
        store(q, (m,), start + offset, width, T.cast(rounded, typed("int8", width)))

    vectors(count, lanes, convert)
    if count < spec.group:
        with T.serial(spec.group - count) as i:
            T.buffer_store(q, T.int8(0), [m, ramp(start + count + i, 1)])
