"""C4n weights times tokens: a work-item for each row, a group of work-items for each panel.

A panel has its rows next to each other (`tvm_c4n.ops.repack`), so that the items of a group read
consecutive words. Each item unpacks its own words: four weights and four positions from eight
bytes, without a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from schedules.opencl.grid import grid, half_to_float, private
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import (
    FieldPanel,
    Int8ColumnPanel,
    IntPanel,
    PanelFormat,
    SparseFloatPanel,
    panel_format,
)
from tvm_c4n.ops.repack.float_panel import FLOAT_KC
from tvm_c4n.ops.repack.int_panel import GATHER_WINDOW
from tvm_c4n.ops.repack.layout import Part
from tvm_c4n.ops.repack.reader import RowReader
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import Kernel, tokens_of
from tvm_c4n.sparsity import CODES, INT_BITS
from tvm_c4n.sparsity.bits import POSITION_BITS

# The unsigned integers of 1, 2 and 4 bytes.
_WORDS = {1: "uint8", 2: "uint16", 4: "uint32"}


def linear(spec: LinearSpec) -> Kernel:
    """Return the kernel of an operator whose weights are repacked for a group's work-items."""
    fmt = panel_format(spec)
    layout = fmt.layout

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        with grid(layout.bundles * layout.panels, tokens) as (panel, token, lane):
            # Step 1: a sum of zero.
            total = private(1)
            T.buffer_store(total, T.float32(0), [0])
            # Step 2: the products of this work-item's row and token.
            place = panel // layout.panels, panel % layout.panels, lane
            item = _Item(args, RowReader(layout, args.weights[0], *place), token, total)
            if isinstance(fmt, IntPanel):
                _integer(item, fmt)
            elif isinstance(fmt, Int8ColumnPanel):
                _weight_only(item, fmt)
            elif isinstance(fmt, SparseFloatPanel):
                _sparse_float(item, fmt)
            else:
                _dense_float(item, fmt)
            # Step 3: factor, bias, residual and the store, if the weight has this row.
            row = panel * spec.lanes + lane
            with T.If(row < spec.rows), T.Then():
                value = total[0]
                if spec.factor:
                    value = value * T.float32(spec.factor)
                if spec.bias:
                    value = value + args.bias[row]
                if spec.residual:
                    value = value + args.residual[token, row]
                T.buffer_store(args.out, value, [token, row])

    return Kernel(spec, "opencl_linear", body)


@dataclass(frozen=True)
class _Item:
    """One work-item: a row times a token."""

    args: LinearArgs
    reader: RowReader
    token: Any
    total: Any

    def x(self, column: Any) -> Any:
        """Read an activation."""
        return self.args.x[self.token, column]

    def word(self, k_block: Any, part: Part, index: Any, size: int) -> Any:
        """Read an element of this row, `size` bytes, as uint32."""
        found = self.reader.element(k_block, part, index, _WORDS[size])
        return T.bind(T.cast(found, "uint32"))

    def float(self, k_block: Any, part: Part, index: Any, dtype: str) -> Any:
        """Read a float32 or float16 element of this row as float32."""
        if dtype == "float32":
            return T.reinterpret("float32", self.word(k_block, part, index, 4))
        return half_to_float(self.word(k_block, part, index, 2))

    def add(self, product: Any) -> None:
        """Add to the result."""
        T.buffer_store(self.total, self.total[0] + product, [0])


def _dense_float(item: _Item, fmt: PanelFormat) -> None:
    with T.serial(fmt.cols) as column:
        weight = item.float(column // FLOAT_KC, Part.VALUES, column % FLOAT_KC, fmt.dtype)
        item.add(weight * item.x(column))


def _sparse_float(item: _Item, fmt: SparseFloatPanel) -> None:
    def groups(k_block: Any, count: int) -> None:
        word = item.word(k_block, Part.POSITIONS, 0, 4)
        for group in range(count):
            first = (k_block * fmt.groups + group) * 4
            for k in range(fmt.kept):
                code = group * fmt.codes_per_group + (0 if fmt.removed == 1 else k)
                column = first + _place(word, POSITION_BITS * code, k, fmt.removed)
                weight = item.float(k_block, Part.VALUES, group * fmt.kept + k, fmt.dtype)
                item.add(weight * item.x(column))

    whole, rest = divmod(fmt.cols // 4, fmt.groups)
    if whole:
        with T.serial(whole) as k_block:
            groups(k_block, fmt.groups)
    if rest:
        groups(whole, rest)


def _weight_only(item: _Item, fmt: Int8ColumnPanel) -> None:
    """Multiply int8 weights by floats; a k-block has one scale."""
    kc, part = fmt.layout.kc, private(1)
    with T.serial(fmt.layout.k_blocks) as k_block:
        T.buffer_store(part, T.float32(0), [0])
        with T.serial(T.min(kc, fmt.cols - k_block * kc)) as index:
            weight = _signed(item.word(k_block, Part.VALUES, index, 1), 0, 8)
            product = T.cast(weight, "float32") * item.x(k_block * kc + index)
            T.buffer_store(part, part[0] + product, [0])
        item.add(part[0] * item.float(k_block, Part.SCALES, 0, "float16"))


def _integer(item: _Item, fmt: IntPanel) -> None:
    """Multiply integers; the sums of a scale group are whole numbers."""
    layout, total = fmt.layout, private(1, "int32")

    def window(k_block: Any, piece: int, number: int, words: list[Any]) -> None:
        column = piece * fmt.slice_cols + number * GATHER_WINDOW
        # Step 2: a sum of zero where a scale group begins.
        if column % fmt.scale_group == 0:
            T.buffer_store(total, T.int32(0), [0])
        # Step 3: the products, chunk by chunk.
        for k in range(fmt.chunks_per_window):
            _chunk(item, fmt, total, (k_block, piece, number, k), words)
        # Step 4: the scales where a scale group ends.
        if (column + GATHER_WINDOW) % fmt.scale_group == 0:
            index = column // fmt.scale_group
            group = k_block * (layout.kc // fmt.scale_group) + index
            row_scale = item.float(k_block, Part.SCALES, index, "float16")
            scale = row_scale * item.args.x_scales[item.token, group]
            item.add(T.cast(total[0], "float32") * scale)

    with T.serial(layout.k_blocks) as k_block:
        for piece in range(layout.k_block.slices):
            # Step 1: the positions of a slice.
            first = piece * fmt.words
            words = [item.word(k_block, Part.POSITIONS, first + w, 4) for w in range(fmt.words)]
            for number in range(fmt.windows):
                window(k_block, piece, number, words)


def _chunk(
    item: _Item, fmt: IntPanel, total: Any, place: tuple[Any, int, int, int], words: list[Any]
) -> None:
    """Multiply four weights: dense, those of a quad; else the k-th of each of four groups."""
    k_block, piece, window, k = place
    index = piece * fmt.chunks + window * fmt.chunks_per_window + k
    start = k_block * fmt.layout.kc + piece * fmt.slice_cols + window * GATHER_WINDOW
    weights, bits = _weights(item, fmt, k_block, index), INT_BITS[fmt.dtype]
    field = window if fmt.removed == 1 else window * fmt.kept + k
    for byte in range(4):
        weight = _signed(weights, byte, bits)
        if CODES[bits].offset:
            weight = weight * T.int32(CODES[bits].step) + T.int32(CODES[bits].offset)
        if fmt.removed == 0:
            column = start + 4 * k + byte
        else:
            shift = 8 * byte + POSITION_BITS * (field % 4)
            column = start + 4 * byte + _place(words[field // 4], shift, k, fmt.removed)
        product = weight * T.cast(item.x(column), "int32")
        T.buffer_store(total, total[0] + product, [0])


def _weights(item: _Item, fmt: IntPanel, k_block: Any, index: int) -> Any:
    """Read chunk number `index` of a k-block: a word with a weight in the low bits of each byte."""
    if not isinstance(fmt, FieldPanel):
        per_byte = fmt.chunks_per_byte
        word = item.word(k_block, Part.VALUES, index // per_byte, 4)
        return word >> T.uint32(4 * (index % 2)) if per_byte == 2 else word
    unit, place = fmt.unit, INT_BITS[fmt.dtype]
    first, found = index // len(unit.pieces) * unit.vectors, []
    for piece in unit.pieces[index % len(unit.pieces)]:
        place -= piece.bits
        word, left = item.word(k_block, Part.VALUES, first + piece.vector, 4), place - piece.low
        word = word << T.uint32(left) if left > 0 else word >> T.uint32(-left)
        found.append(word & T.uint32(0x01010101 * ((1 << piece.bits) - 1 << place)))
    return T.bind(reduce(or_, found))


def _place(word: Any, shift: int, k: int, removed: int) -> Any:
    """Return the place in its group of the k-th kept weight, whose code is at `shift`."""
    code = T.cast((word >> T.uint32(shift)) & T.uint32(3), "int32")
    if removed != 1:
        return code
    # The code is the removed one's place: the weights from there on stood one further.
    return T.Select(code > T.int32(k), T.int32(k), T.int32(k + 1))


def _signed(word: Any, byte: int, bits: int) -> Any:
    """Return the lowest `bits` of a byte of a word as signed int32."""
    left = T.reinterpret("int32", word << T.uint32(32 - bits - 8 * byte))
    return left >> T.int32(32 - bits)
