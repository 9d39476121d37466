"""RMSNorm and the quantisation of activations: one pass over a token's columns."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import quantize, rms_norm, rms_norm_parts
from tvm_c4n.ops.spec import OpSpec, QuantizeSpec, RmsNormPartsSpec, RmsNormSpec
from tvm_c4n.ops.tir import (
    ColumnTiles,
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
        """Return the kernel of an RMSNorm."""
        if not isinstance(spec, RmsNormSpec):
            return None
        lanes = intrin.lanes

        if not spec.dynamic:
            return Kernel.of_tiles(spec, self.name, _norm_columns(spec, lanes))

        def body() -> None:
            tokens = tokens_of(spec)
            buffers = rms_norm.declare(spec, tokens)
            count, first = rms_norm.rows(spec, tokens)
            with loop(count, parallel=True) as m, loop(spec.groups) as group:
                _norm_group(spec, buffers, (first + m, m, group), lanes)

        return Kernel(spec, self.name, body)


class RmsNormParts:
    """One token: its parts in parallel; else tokens in parallel."""

    name = "rms_norm_parts"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of RMSNorms over parts of a row."""
        if not isinstance(spec, RmsNormPartsSpec):
            return None
        lanes = intrin.lanes

        def body() -> None:
            tokens = tokens_of(spec)
            x, out = rms_norm_parts.declare(spec, tokens)
            parts = rms_norm_parts.parts(spec)

            def norm(token: Any, start: Any, size: int) -> None:
                factor = _factor(x, (token, start), size, spec.eps, lanes)

                def scale(at: Any, width: int) -> None:
                    value = load(x, (token,), start + at, width) * splat(factor, width)
                    store(out, (token,), start + at, width, value)

                vectors(size, lanes, scale)

            if spec.dynamic:
                with T.parallel(tokens) as token:
                    for start, size in parts:
                        norm(token, start, size)
                return
            with T.parallel(len(parts)) as part, T.If(part == 0):
                with T.Then():
                    norm(0, *parts[0])
                with T.Else():
                    norm(0, spec.rank + (part - 1) * spec.state, spec.state)

        return Kernel(spec, self.name, body)


def _norm_columns(spec: RmsNormSpec, lanes: int) -> ColumnTiles:
    """Return tiles of columns, each with a sum of all squares of its own.

    Adding up the squares again costs less than waiting for one core's sum. Where there are groups
    tiles are whole groups.
    """
    size = spec.size
    multiple = lanes if spec.groups == 1 and size % lanes == 0 else size
    tiles = next(t for t in (8, 4, 2, 1) if spec.cols % (t * multiple) == 0)

    def emit(buffers: tuple[Any, ...], start: Any, width: int) -> None:
        if spec.groups == 1:
            factor = _factor(buffers[0], (0, 0), size, spec.eps, lanes)
            _scale(buffers, factor, (0, 0), (start, start), width, lanes)
            return
        with loop(width // size) as group:
            _norm_group(spec, buffers, (0, 0, start // size + group), lanes)

    return ColumnTiles(
        spec.cols,
        multiple,
        spec.cols // tiles,
        frozenset((1, 2)),
        lambda: rms_norm.declare(spec, 1),
        emit,
    )


def _norm_group(
    spec: RmsNormSpec, buffers: tuple[Any, ...], place: tuple[Any, Any, Any], lanes: int
) -> None:
    """Emit the norm of a group; `place` is the token of x, the token of out, and the group."""
    source, target, group = place
    read, written = group * (spec.size + spec.gap), group * spec.size
    factor = _factor(buffers[0], (source, read), spec.size, spec.eps, lanes)
    _scale(buffers, factor, (source, target), (read, written), spec.size, lanes)


def _factor(x: Any, place: tuple[Any, Any], count: int, eps: float, lanes: int) -> Any:
    """Emit the sum of squares of `count` columns; returns 1 / sqrt(mean + eps).

    `place` is the token and the first column.
    """
    token, first = place
    sums = local((lanes,))
    store(sums, (), 0, lanes, f32(0.0, lanes))

    def add(start: Any, width: int) -> None:
        value = load(x, (token,), first + start, width)
        store(sums, (), 0, width, load(sums, (), 0, width) + value * value)

    vectors(count, lanes, add)
    total: Any = sums[0]
    for lane in range(1, lanes):
        total = total + sums[lane]
    mean = total * T.float32(1 / count)
    return T.bind(T.float32(1) / T.sqrt(mean + T.float32(eps)))


def _scale(
    buffers: tuple[Any, ...],
    factor: Any,
    tokens: tuple[Any, Any],
    columns: tuple[Any, Any],
    count: int,
    lanes: int,
) -> None:
    """Emit ``out = x * factor * weight`` for `count` columns.

    `tokens` are those of x and of out, `columns` the first ones that are read and written.
    """
    (x, weight, out), (source, target), (read, written) = buffers, tokens, columns

    def scale(start: Any, width: int) -> None:
        value = load(x, (source,), read + start, width) * splat(factor, width)
        scaled = value * load(weight, (), written + start, width)
        store(out, (target,), written + start, width, scaled)

    vectors(count, lanes, scale)


class Quantize:
    """Two passes over each group of columns: the largest magnitude, then the rounding."""

    name = "quantize"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a quantisation."""
        # Parts that each end within a group are rare: the plain definition serves them.
        if not isinstance(spec, QuantizeSpec) or spec.parts > 1:
            return None
        lanes = intrin.lanes

        if not spec.prefill and spec.cols == spec.padded > spec.group:
            return Kernel.of_tiles(
                spec,
                self.name,
                ColumnTiles(
                    spec.cols,
                    spec.group,
                    spec.group,
                    frozenset((0, 1, 2)),
                    lambda: quantize.declare(spec, tokens_of(spec)),
                    lambda buffers, start, width: _groups(spec, buffers, start, width, lanes),
                ),
            )

        def body() -> None:
            tokens = tokens_of(spec)
            buffers = quantize.declare(spec, tokens)
            counts = [
                max(0, min(spec.group, spec.cols - start))
                for start in range(0, spec.padded, spec.group)
            ]
            if not spec.dynamic:
                _groups_in_parallel(spec, buffers, counts, lanes)
                return
            whole = spec.cols // spec.group
            with loop(tokens, parallel=True) as m:
                if whole:
                    with T.serial(whole) as s:
                        _group(spec, buffers, (m, s), spec.group, lanes)
                for s, count in enumerate(counts[whole:], whole):
                    _group(spec, buffers, (m, s), count, lanes)

        return Kernel(spec, self.name, body)


def _groups_in_parallel(
    spec: QuantizeSpec, buffers: tuple[Any, ...], counts: list[int], lanes: int
) -> None:
    """Quantise one token's groups, of which `counts` columns are there, in a parallel loop.

    All is inside that loop, and it has two iterations at least: a region takes no other kernel, and
    a layer with such a one in its middle would be two regions that cannot be rolled.
    """
    whole = sum(count == spec.group for count in counts)
    with T.parallel(max(2, len(counts))) as s:
        if whole:
            with T.If(s < whole), T.Then():
                _group(spec, buffers, (0, s), spec.group, lanes)
        for number, count in enumerate(counts[whole:], whole):
            with T.If(s == number), T.Then():
                _group(spec, buffers, (0, number), count, lanes)


def _groups(
    spec: QuantizeSpec, buffers: tuple[Any, ...], start: Any, width: int, lanes: int
) -> None:
    """Quantise the whole groups of `width` columns of one token, or of each in a batch."""
    with loop(buffers[0].shape[0] if spec.dynamic else 1) as m, loop(width // spec.group) as s:
        _group(spec, buffers, (m, start // spec.group + s), spec.group, lanes)


def _group(
    spec: QuantizeSpec, buffers: tuple[Any, ...], place: tuple[Any, Any], count: int, lanes: int
) -> None:
    """Quantise `count` columns of a token's group; the group's other columns become zero."""
    (x, q, scales), (m, s) = buffers, place
    start = s * spec.group
    # Step 1: the largest magnitude, lane by lane and then over the lanes.
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
    # Step 2: the scale.
    T.buffer_store(scales, top * T.float32(1 / quantize.TOP), [m, s])
    inverse = T.bind(T.Select(top > T.float32(0), T.float32(quantize.TOP) / top, T.float32(0)))

    # Step 3: the rounded columns, and zeros after the last one.
    def convert(offset: Any, width: int) -> None:
        value = load(x, (m,), start + offset, width) * splat(inverse, width)
        rounded = T.cast(T.nearbyint(value), typed("int32", width))
        store(q, (m,), start + offset, width, T.cast(rounded, typed("int8", width)))

    vectors(count, lanes, convert)
    if count < spec.group:
        with T.serial(spec.group - count) as i:
            T.buffer_store(q, T.int8(0), [m, ramp(start + count + i, 1)])
