"""Reading one weight in TIR, from the checkpoint's form or the packed form.

This is what the plain definitions of operators read with: clear, and slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack import CODES, COLUMNS, chunks_of, layout_of, words_of
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import declare_or_bind, ramp

Shape = tuple[tuple[int, ...], str]


def weight_shapes(spec: LinearSpec) -> list[Shape]:
    """Return shape and dtype of the weight arguments.

    Packed, that is one array of bytes; in the checkpoint's form values, positions (removed > 0) and
    scales (integer dtypes).
    """
    if spec.lanes:
        return [(layout_of(spec).shape, "uint8")]
    groups = spec.cols // 4
    width = groups * spec.kept if spec.removed else spec.cols
    stored = (-(-width // 2), "uint8") if spec.dtype == "int4" else (width, spec.dtype)
    shapes: list[Shape] = [((spec.rows, stored[0]), stored[1])]
    if spec.removed:
        shapes.append(((spec.rows, -(-groups * CODES[spec.removed] // 4)), "uint8"))
    if spec.quantized:
        shapes.append(((spec.rows, -(-spec.cols // spec.scale_group)), "float16"))
    return shapes


def declare_weights(spec: LinearSpec) -> list[Any]:
    """Declare the weight arguments of a PrimFunc that is being built."""
    return [declare_or_bind(f"weight{i}", *shape) for i, shape in enumerate(weight_shapes(spec))]


def value_at(spec: LinearSpec, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
    """Read the k-th kept weight of a group; for removed = 0, k is the column inside the group.

    Returns
    -------
    PrimExpr
        Of the weight's dtype; int32 for integer dtypes.
    """
    if not spec.lanes:
        index = group * spec.kept + k
        if spec.dtype != "int4":
            value = weights[0][row, index]
            return T.cast(value, "int32") if spec.quantized else value
        return _nibble(weights[0][row, index // 2], index % 2)
    if not spec.quantized:
        return _packed_float(spec, weights[0], row, group, k)
    if spec.weight_only:
        return _packed_column(spec, weights[0], row, group * 4 + k)
    layout = layout_of(spec)
    inside = group % (layout.span // 4)
    unit, inside = inside // 16, inside % 16
    if spec.removed == 0:
        chunk, byte = inside, k
    else:
        chunk, byte = inside // 4 * spec.kept + k, inside % 4
    chunk = unit * chunks_of(spec.removed) + chunk
    per_byte = 2 if spec.dtype == "int4" else 1
    offset = layout.place(1, chunk // per_byte, _tile(spec, row), 4)
    raw = _byte(spec, weights[0], row, group, offset + row % spec.lanes * 4 + byte)
    return _nibble(raw, chunk % 2) if per_byte == 2 else T.cast(T.reinterpret("int8", raw), "int32")


def column_at(spec: LinearSpec, weights: Sequence[Any], row: Any, group: Any, k: Any) -> Any:
    """Return the dense column of the k-th kept weight of a group."""
    if spec.removed == 0:
        return group * 4 + k
    if spec.removed == 1:
        gone = _code(spec, weights, row, group, 0)
        return group * 4 + k + T.if_then_else(gone <= k, 1, 0)
    return group * 4 + _code(spec, weights, row, group, k)


def scale_at(spec: LinearSpec, weights: Sequence[Any], row: Any, s: Any) -> Any:
    """Read the float16 scale of a row and scale group (integer dtypes)."""
    if not spec.lanes:
        return weights[-1][row, s]
    layout = layout_of(spec)
    per_record = max(1, layout.span // spec.scale_group)
    offset = layout.place(2, s % per_record, _tile(spec, row), 2) + row % spec.lanes * 2
    stored = weights[0][_block(spec, row), s // per_record, ramp(offset, 2)]
    return T.reinterpret("float16", stored)


def _block(spec: LinearSpec, row: Any) -> Any:
    return row // (spec.lanes * layout_of(spec).tiles)


def _tile(spec: LinearSpec, row: Any) -> Any:
    return row // spec.lanes % layout_of(spec).tiles


def _byte(spec: LinearSpec, stream: Any, row: Any, group: Any, offset: Any) -> Any:
    """Read a byte of the record that holds a group."""
    return stream[_block(spec, row), group // (layout_of(spec).span // 4), offset]


def _packed_float(spec: LinearSpec, stream: Any, row: Any, group: Any, k: Any) -> Any:
    layout, size = layout_of(spec), 2 if spec.dtype == "float16" else 4
    if spec.removed == 0:
        column = group * 4 + k
        record, index = column // COLUMNS, column % COLUMNS
    else:
        per_record = layout.span // 4
        record, index = group // per_record, group % per_record * spec.kept + k
    offset = layout.place(1, index, _tile(spec, row), size) + row % spec.lanes * size
    return T.reinterpret(spec.dtype, stream[_block(spec, row), record, ramp(offset, size)])


def _packed_column(spec: LinearSpec, stream: Any, row: Any, column: Any) -> Any:
    layout = layout_of(spec)
    record, index = column // layout.span, column % layout.span
    offset = layout.place(1, index, _tile(spec, row), 1) + row % spec.lanes
    byte = stream[_block(spec, row), record, offset]
    return T.cast(T.reinterpret("int8", byte), "int32")


def _code(spec: LinearSpec, weights: Sequence[Any], row: Any, group: Any, code: Any) -> Any:
    """Read the 2-bit code number `code` of a group."""
    per_group = CODES[spec.removed]
    if not spec.lanes:
        field = group * per_group + code
        byte, shift = weights[1][row, field // 4], field % 4
    else:
        layout = layout_of(spec)
        inside = group % (layout.span // 4)
        if spec.integer:
            unit, inside = inside // 16, inside % 16
            field = inside // 4 * per_group + code
            word, part = unit * words_of(spec.removed) + field // 4, inside % 4
        else:
            field = inside * per_group + code
            word, part = 0, field // 4
        offset = layout.place(0, word, _tile(spec, row), 4) + row % spec.lanes * 4 + part
        byte, shift = _byte(spec, weights[0], row, group, offset), field % 4
    # Unsigned: TVM 0.27 bounds a signed shift wrongly and would simplify comparisons away.
    shifted = T.cast(byte, "uint32") >> T.cast(2 * shift, "uint32")
    return T.cast(shifted & T.uint32(3), "int32")


def _nibble(byte: Any, high: Any) -> Any:
    """Sign-extended int32 of the low or high four bits."""
    shifted = T.cast(byte, "int32") << T.if_then_else(high == 0, T.int32(28), T.int32(24))
    return shifted >> 28
