"""RMSNorm and the quantisation of activations: one pass over a token's columns."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import PrimFunc, T
from tvm_c4n.ops import quantize, rms_norm
from tvm_c4n.ops.spec import OpSpec, QuantizeSpec, RmsNormSpec
from tvm_c4n.ops.tir import (
    build,
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

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> PrimFunc | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, RmsNormSpec):
            return None
        lanes = intrin.lanes

        def body() -> None:
            tokens = tokens_of(spec)
            x, weight, out = rms_norm.declare(spec, tokens)
            count, first = rms_norm.rows(spec, tokens)
            with loop(count, parallel=True) as m:
                sums = local((lanes,))
                store(sums, (), 0, lanes, f32(0.0, lanes))

                def add(start: Any, width: int) -> None:
                    value = load(x, (first + m,), start, width)
                    store(sums, (), 0, width, load(sums, (), 0, width) + value * value)

                vectors(spec.cols, lanes, add)
                total: Any = sums[0]
                for lane in range(1, lanes):
                    total = total + sums[lane]
                mean = total * T.float32(1 / spec.cols)
                factor = T.bind(T.float32(1) / T.sqrt(mean + T.float32(spec.eps)))

                def scale(start: Any, width: int) -> None:
                    value = load(x, (first + m,), start, width) * splat(factor, width)
                    store(out, (m,), start, width, value * load(weight, (), start, width))

                vectors(spec.cols, lanes, scale)

        return build(spec, "rms_norm", body)


class Quantize:
    """Two passes over each group of columns: the largest magnitude, then the rounding."""

    name = "quantize"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> PrimFunc | None:
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
                    with T.serial(whole) as s:
                        _group(spec, (x, q, scales), m, s, spec.group, lanes)
                if rest:
                    _group(spec, (x, q, scales), m, whole, rest, lanes)
                first = whole + (rest > 0)
                if first * spec.group < spec.padded:
                    with T.serial(spec.padded // spec.group - first) as s:
                        _group(spec, (x, q, scales), m, s + first, 0, lanes)

        return build(spec, "quantize", body)


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
