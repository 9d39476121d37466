"""The inner code of C4n linear kernels: a micro-tile of some panels times some tokens.

The same code serves a decode step (one token) and prefill (several tokens share each load and each
unpacking of the weights). There is one emitter for each way in which a format's weights meet the
activations: `_dense_float`, `_sparse_float`, `IntegerBody`, `NestedBody`, `PairedBody`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schedules.accumulator import ScaledFloats
from schedules.integer_body import IntegerBody
from schedules.intrin.base import Intrinsics
from schedules.micro_tile import MicroTile, Output
from schedules.nested_body import NestedBody
from schedules.paired_body import PairedBody
from schedules.windows import Windows
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack import NO_PREFETCHING, Prefetching, panel_format
from tvm_c4n.ops.repack.float_panel import FLOAT_KC, FloatStream
from tvm_c4n.ops.repack.int8_column_panel import Int8ColumnStream
from tvm_c4n.ops.repack.int_panel import IntStream
from tvm_c4n.ops.repack.nested_panel import NestedStream
from tvm_c4n.ops.repack.paired_panel import PairedStream
from tvm_c4n.ops.repack.sparse_float_panel import SparseFloatPanel, SparseFloatStream
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import loop, splat
from tvm_c4n.sparsity.bits import POSITION_BITS


def emit_linear(
    intrin: Intrinsics,
    spec: LinearSpec,
    args: LinearArgs,
    tile: MicroTile,
    prefetching: Prefetching = NO_PREFETCHING,
    windows: Windows | None = None,
) -> None:
    """Emit the code of one micro-tile of a linear operator.

    `windows` are those of the micro-tile's tokens, where they have been read before.
    """
    # Step 1: sums of zero, and the stream of the weights.
    fmt = panel_format(spec)
    out = Output(spec, fmt, args, tile)
    bundle = intrin.opaque(tile.before + tile.bundle)
    stream = fmt.stream(args.weights[0], bundle, tile.panel, prefetching)
    # Step 2: products, as the format wants them.
    if isinstance(stream, IntStream):
        body = _integer_body(intrin, stream, tile)
        body(intrin.for_weights(spec), args, tile, stream, out).emit(windows)
    elif isinstance(stream, SparseFloatStream):
        _sparse_float(intrin, args.x, tile, stream, out)
    else:
        assert isinstance(stream, FloatStream | Int8ColumnStream)  # noqa: S101 - all formats
        _dense_float(args.x, tile, stream, out)
    # Step 3: factor, bias, residual and the stores.
    out.store()


def _integer_body(intrin: Intrinsics, stream: IntStream, tile: MicroTile) -> type[IntegerBody]:
    if isinstance(stream, NestedStream):
        return NestedBody
    both = isinstance(stream, PairedStream) and intrin.multiplies_both and tile.panels > 1
    return PairedBody if both else IntegerBody


def _k_blocks(extent: int, size: int, emit: Callable[[Any, int], None]) -> None:
    """Loop over whole k-blocks of `size`, then emit what is left of the last one."""
    if extent // size:
        with T.serial(extent // size) as k_block:
            emit(k_block, size)
    if extent % size:
        emit(extent // size, extent % size)


def _dense_float(
    x: Any, tile: MicroTile, stream: FloatStream | Int8ColumnStream, out: Output
) -> None:
    """Emit one multiply-add per weight; int8 weights are scaled once per k-block."""
    fmt = stream.format
    scaled = ScaledFloats(fmt.mr, tile, out) if isinstance(stream, Int8ColumnStream) else None

    def columns(k_block: Any, first: Any, count: int) -> None:
        for k in range(count):
            for r in range(tile.panels):
                weight = stream.weight(k_block, first + k, r)
                for m in range(tile.tokens):
                    value = x[tile.token + m, k_block * fmt.layout.kc + first + k]
                    (scaled or out).add(m, r, weight * splat(value, fmt.mr))

    def emit(k_block: Any, count: int) -> None:
        # Step 1: the sums of a k-block begin at zero if they are to be scaled.
        if scaled is not None:
            scaled.clear()
        # Step 2: FLOAT_KC columns at a time, then the rest.
        whole = count // FLOAT_KC
        if whole:
            with loop(whole) as part:
                columns(k_block, part * FLOAT_KC, FLOAT_KC)
        columns(k_block, whole * FLOAT_KC, count % FLOAT_KC)
        # Step 3: the scales.
        if scaled is not None and isinstance(stream, Int8ColumnStream):
            for r in range(tile.panels):
                scaled.flush(r, stream.scales(k_block, r))

    _k_blocks(fmt.cols, fmt.layout.kc, emit)


def _sparse_float(
    intrin: Intrinsics, x: Any, tile: MicroTile, stream: SparseFloatStream, out: Output
) -> None:
    """Emit, for each kept weight, a gather from the four activations of its group."""
    fmt, panels = stream.format, range(tile.panels)

    def groups(k_block: Any, count: int) -> None:
        # Step 1: the positions of the whole k-block, a word per row.
        words = [stream.positions(k_block, r) for r in panels]
        for group in range(count):
            column = (k_block * fmt.groups + group) * 4
            for k in range(fmt.kept):
                for r in panels:
                    # Step 2: where the k-th kept weight of each row stood, and the weight.
                    code = T.bind(_place(words[r], group * fmt.codes_per_group, k, fmt))
                    weight = stream.weight(k_block, group * fmt.kept + k, r)
                    # Step 3: the activations at these places, times the weight.
                    for m in range(tile.tokens):
                        gathered = intrin.gather_floats(x, tile.token + m, column, code)
                        out.add(m, r, weight * gathered)

    _k_blocks(fmt.cols // 4, fmt.groups, groups)


def _place(word: Any, field: int, k: int, fmt: SparseFloatPanel) -> Any:
    """Return the place of the k-th kept weight of the group whose codes start at `field`."""

    def code(index: int) -> Any:
        shifted = word >> splat(T.uint32(POSITION_BITS * index), fmt.mr)
        return shifted & splat(T.uint32(3), fmt.mr)

    if fmt.removed != 1:
        return code(field + k)
    # The code is the removed one's place: the weights from there on stood one further.
    here, after = (splat(T.uint32(v), fmt.mr) for v in (k, k + 1))
    return T.Select(code(field) > here, here, after)
