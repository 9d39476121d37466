"""The C4n linear operator: plain definition, float64 oracle, and the call in a Relax function.

The definition reads the checkpoint's form (``lanes == 0``, docs/format.md) or the packed form
(`tvm_c4n.ops.packed`). It is written for clarity and runs everywhere; `schedules` has the fast
bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops import quantize
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.packed import CODES, UNIT, packed_shapes, units_of
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.ops.tir import argument, build, local, loop, tokens_of
from tvm_c4n.sparsity.pack import C4nWeight


def weight_shapes(spec: LinearSpec) -> list[tuple[tuple[int, ...], str]]:
    """Return shape and dtype of the weight arguments: values, positions (removed > 0), scales."""
    if spec.lanes:
        return packed_shapes(spec)
    groups = spec.cols // 4
    width = groups * spec.kept if spec.removed else spec.cols
    stored = (-(-width // 2), "uint8") if spec.dtype == "int4" else (width, spec.dtype)
    shapes: list[tuple[tuple[int, ...], str]] = [((spec.rows, stored[0]), stored[1])]
    if spec.removed:
        shapes.append(((spec.rows, -(-groups * CODES[spec.removed] // 4)), "uint8"))
    if spec.integer:
        shapes.append(((spec.rows, -(-spec.cols // spec.scale_group)), "float16"))
    return shapes


def raw_arrays(weight: C4nWeight) -> list[NDArray[np.generic]]:
    """Return the weight's arrays in the order of the operator's arguments."""
    return [a for a in (weight.values, weight.positions, weight.scales) if a is not None]


@dataclass(frozen=True)
class LinearArgs:
    """The declared arguments of a linear PrimFunc.

    Attributes
    ----------
    x : Buffer
        ``(tokens, input_width)`` float32, or int8 ``(tokens, padded cols)``.
    x_scales : Buffer or None
        ``(tokens, scale groups)`` float32, integer dtypes only.
    values, positions, scales : Buffer or None
        As `weight_shapes` says.
    bias : Buffer or None
        ``(rows,)`` float32.
    residual : Buffer or None
        ``(tokens, rows)`` float32.
    out : Buffer
        ``(tokens, rows)`` float32.
    """

    x: Any
    x_scales: Any
    values: Any
    positions: Any
    scales: Any
    bias: Any
    residual: Any
    out: Any


def padded_cols(spec: LinearSpec) -> int:
    """Return the columns of int8 activations: `cols` rounded up to whole units."""
    return units_of(spec) * UNIT


def declare(spec: LinearSpec, tokens: Any) -> LinearArgs:
    """Declare the arguments inside a PrimFunc that is being built."""
    x_scales = positions = scales = bias = residual = None
    if spec.integer:
        padded = padded_cols(spec)
        x = argument("x", (tokens, padded), "int8")
        x_scales = argument("x_scales", (tokens, padded // spec.scale_group))
    else:
        x = argument("x", (tokens, spec.input_width))
    shapes = weight_shapes(spec)
    values = argument("values", *shapes[0])
    if spec.removed:
        positions = argument("positions", *shapes[1])
    if spec.integer:
        scales = argument("scales", *shapes[-1])
    if spec.bias:
        bias = argument("bias", (spec.rows,))
    if spec.residual:
        residual = argument("residual", (tokens, spec.rows))
    out = argument("out", (tokens, spec.rows))
    return LinearArgs(x, x_scales, values, positions, scales, bias, residual, out)


def _nibble(byte: Any, high: Any) -> Any:
    """Sign-extended int32 of the low or high four bits."""
    shifted = T.cast(byte, "int32") << T.if_then_else(high == 0, T.int32(28), T.int32(24))
    return shifted >> 28


def _value(spec: LinearSpec, args: LinearArgs, row: Any, group: Any, k: Any) -> Any:
    """Read the k-th kept weight of a group; for removed = 0, k is the column inside the group."""
    width = spec.kept
    if not spec.lanes:
        index = group * width + k
        if spec.dtype != "int4":
            return args.values[row, index]
        return _nibble(args.values[row, index // 2], index % 2)
    tile, lane = row // spec.lanes, row % spec.lanes
    if not spec.integer:
        if spec.removed == 0:
            return args.values[tile, group * 4 + k, lane]
        return args.values[tile, group, k, lane]
    unit, inside = group // 16, group % 16
    if spec.removed == 0:
        chunk, byte = inside, k
    else:
        chunk, byte = inside // 4 * width + k, inside % 4
    if spec.dtype == "int8":
        return args.values[tile, unit, chunk, lane * 4 + byte]
    return _nibble(args.values[tile, unit, chunk // 2, lane * 4 + byte], chunk % 2)


def _code(spec: LinearSpec, args: LinearArgs, row: Any, group: Any, code: Any) -> Any:
    """Read the 2-bit code number `code` of a group."""
    per_group = CODES[spec.removed]
    if not spec.lanes:
        field = group * per_group + code
        return (T.cast(args.positions[row, field // 4], "int32") >> (2 * (field % 4))) & 3
    tile, lane = row // spec.lanes, row % spec.lanes
    if not spec.integer:
        field = group * per_group + code
        word, shift = args.positions[tile, field // 16, lane], 2 * (field % 16)
    else:
        unit, inside = group // 16, group % 16
        field = inside // 4 * per_group + code
        word = args.positions[tile, unit, field // 4, lane]
        shift = 8 * (inside % 4) + 2 * (field % 4)
    return T.cast((word >> T.cast(shift, "uint32")) & T.uint32(3), "int32")


def _column(spec: LinearSpec, args: LinearArgs, row: Any, group: Any, k: Any) -> Any:
    """Return the dense column of the k-th kept weight of a group."""
    if spec.removed == 0:
        return group * 4 + k
    if spec.removed == 1:
        gone = _code(spec, args, row, group, 0)
        return group * 4 + k + T.if_then_else(gone <= k, 1, 0)
    return group * 4 + _code(spec, args, row, group, k)


def define(spec: LinearSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc named ``c4n_linear``."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        acc_type = "int32" if spec.integer else "float32"
        span = spec.scale_group or spec.cols
        with loop(tokens) as m, T.serial(spec.rows) as row:
            start = T.float32(0)
            if spec.bias:
                start = start + args.bias[row]
            if spec.residual:
                start = start + args.residual[m, row]
            T.buffer_store(args.out, start, [m, row])
            with T.serial(-(-spec.cols // span)) as s:
                acc = local((1,), acc_type)
                T.buffer_store(acc, T.cast(0, acc_type), [0])
                count = T.min(span, spec.cols - s * span)
                # removed = 0 also serves columns that are no multiple of four.
                extent = count if spec.removed == 0 else count // 4 * spec.kept
                with T.serial(extent) as i:
                    group = s * (span // 4) + i // spec.kept
                    k = i % spec.kept
                    weight = _value(spec, args, row, group, k)
                    x = args.x[m, _column(spec, args, row, group, k)]
                    product = T.cast(weight, acc_type) * T.cast(x, acc_type)
                    T.buffer_store(acc, acc[0] + product, [0])
                part = T.cast(acc[0], "float32")
                if spec.integer:
                    scale = T.cast(_scale(spec, args, row, s), "float32")
                    part = part * (scale * args.x_scales[m, s])
                T.buffer_store(args.out, args.out[m, row] + part, [m, row])

    return build(spec, "c4n_linear", body)


def _scale(spec: LinearSpec, args: LinearArgs, row: Any, s: Any) -> Any:
    if spec.lanes:
        return args.scales[row // spec.lanes, s, row % spec.lanes]
    return args.scales[row, s]


def oracle(
    x: NDArray[np.floating[Any]],
    weight: C4nWeight,
    bias: NDArray[np.floating[Any]] | None = None,
    residual: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """Compute ``x @ weight.T + bias + residual`` in float64.

    Parameters
    ----------
    x : ndarray, (tokens, cols)
    weight : C4nWeight
    bias : ndarray, (rows,), optional
    residual : ndarray, (tokens, rows), optional
    """
    out = x.astype(np.float64) @ weight.dense().astype(np.float64).T
    if bias is not None:
        out = out + bias
    if residual is not None:
        out = out + residual
    return np.asarray(out, np.float64)


def emit(
    em: Emitter,
    x: Any,
    weight: C4nWeight,
    *,
    bias: NDArray[np.float32] | None = None,
    residual: Any = None,
) -> Any:
    """Emit a C4n linear; integer weights quantise the activations to int8 first.

    Parameters
    ----------
    em : Emitter
    x : relax.Expr
        ``(tokens, width)`` float32, of which the first `weight.cols` columns are the input.
    weight : C4nWeight
        Its arrays become constants of the function.
    bias : ndarray, (rows,), optional
    residual : relax.Expr, optional
        ``(tokens, rows)`` float32, added to the result.

    Returns
    -------
    relax.Var
        ``(tokens, rows)`` float32.
    """
    width = int(x.ty.shape[1])
    spec = LinearSpec(
        dynamic=em.dynamic,
        rows=weight.rows,
        cols=weight.cols,
        removed=weight.removed,
        dtype=weight.dtype,
        scale_group=weight.scale_group,
        lanes=0,
        input_width=width,
        bias=bias is not None,
        residual=residual is not None,
    )
    inputs = [x]
    if spec.integer:
        group = spec.scale_group
        how = QuantizeSpec(em.dynamic, spec.cols, group, padded_cols(spec), width)
        inputs = quantize.emit(em, x, how)
    inputs += [em.constant(array) for array in raw_arrays(weight)]
    if bias is not None:
        inputs.append(em.constant(bias))
    if residual is not None:
        inputs.append(residual)
    out = relax.TensorType((em.tokens, spec.rows), "float32")
    return em.call(define(spec), inputs, [out])[0]
