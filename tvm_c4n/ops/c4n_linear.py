"""The C4n linear operator: plain definition, float64 oracle, and the call in a Relax function.

The definition reads the stored form (``lanes == 0``, `tvm_c4n.ops.stored`) or a repacked one
(`tvm_c4n.ops.repack`). It is written for clarity and runs everywhere; `schedules` has the fast
bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops import quantize
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.repack import format_of, panel_format
from tvm_c4n.ops.spec import LinearSpec, QuantizeSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.ops.tir import build, declare_or_bind, local, loop, tokens_of
from tvm_c4n.sparsity import C4nWeight


@dataclass(frozen=True)
class LinearArgs:
    """The declared arguments of a linear PrimFunc.

    Attributes
    ----------
    x : Buffer
        ``(tokens, input_width)`` float32, or int8 ``(tokens, padded cols)``.
    x_scales : Buffer or None
        ``(tokens, scale groups)`` float32, integer dtypes only.
    weights : list of Buffer
        As `WeightFormat.shapes` says.
    bias : Buffer or None
        ``(rows,)`` float32.
    residual : Buffer or None
        ``(tokens, rows)`` float32.
    out : Buffer
        ``(tokens, rows)`` float32.
    factor : PrimExpr, optional
        float32: what the product is multiplied by, beside the factor of the spec.
    """

    x: Any
    x_scales: Any
    weights: list[Any]
    bias: Any
    residual: Any
    out: Any
    factor: Any = None


def padded_cols(spec: LinearSpec) -> int:
    """Return the columns of int8 activations: `cols` rounded up to whole k-blocks."""
    return panel_format(spec).layout.padded_cols


def declare(spec: LinearSpec, tokens: Any) -> LinearArgs:
    """Declare the arguments inside a PrimFunc that is being built."""
    x_scales = bias = residual = None
    if spec.integer:
        padded = padded_cols(spec)
        x = declare_or_bind("x", (tokens, padded), "int8")
        x_scales = declare_or_bind("x_scales", (tokens, padded // spec.scale_group))
    else:
        x = declare_or_bind("x", (tokens, spec.input_width))
    weights = format_of(spec).declare()
    if spec.bias:
        bias = declare_or_bind("bias", (spec.rows,))
    if spec.residual:
        residual = declare_or_bind("residual", (tokens, spec.rows))
    out = declare_or_bind("out", (tokens, spec.rows))
    return LinearArgs(x, x_scales, weights, bias, residual, out)


def define(spec: LinearSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc named ``c4n_linear``."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        with loop(tokens) as m, T.serial(spec.rows) as row:
            start = T.float32(0)
            if spec.bias:
                start = start + args.bias[row]
            if spec.residual:
                start = start + args.residual[m, row]
            T.buffer_store(args.out, start, [m, row])

            def add(part: Any) -> None:
                if spec.factor:
                    part = part * T.float32(spec.factor)
                T.buffer_store(args.out, args.out[m, row] + part, [m, row])

            define_row(spec, args, (m, 0), row, add)

    return build(spec, "c4n_linear", body)


def define_row(
    spec: LinearSpec, args: LinearArgs, place: tuple[Any, Any], row: Any, add: Callable[[Any], None]
) -> None:
    """Emit the plain product of a row of the weight and a token, scale group by scale group.

    Parameters
    ----------
    spec : LinearSpec
    args : LinearArgs
    place : tuple
        The token, and the vector of activations among those that lie next to each other there.
    row : int or PrimExpr
    add : callable
        ``add(part)`` emits what becomes of the sum over a scale group, or over all columns.
    """
    fmt, (m, vector) = format_of(spec), place
    acc_type = "int32" if spec.integer else "float32"
    span = spec.scale_group or spec.cols
    first = vector * (padded_cols(spec) if spec.integer else spec.cols)
    with T.serial(-(-spec.cols // span)) as s:
        acc = local((1,), acc_type)
        T.buffer_store(acc, T.cast(0, acc_type), [0])
        count = T.min(span, spec.cols - s * span)
        # removed = 0 also serves columns that are no multiple of four.
        extent = count if spec.removed == 0 else count // 4 * spec.kept
        with T.serial(extent) as i:
            group = s * (span // 4) + i // spec.kept
            k = i % spec.kept
            weight = fmt.value(args.weights, row, group, k)
            x = args.x[m, first + fmt.column(args.weights, row, group, k)]
            product = T.cast(weight, acc_type) * T.cast(x, acc_type)
            T.buffer_store(acc, acc[0] + product, [0])
        part = T.cast(acc[0], "float32")
        if spec.quantized:
            scale = T.cast(fmt.scale(args.weights, row, s), "float32")
            if spec.integer:
                scale = scale * args.x_scales[m, first // spec.scale_group + s]
            part = part * scale
        add(part)


def oracle(
    x: NDArray[np.floating[Any]],
    weight: C4nWeight,
    bias: NDArray[np.floating[Any]] | None = None,
    residual: NDArray[np.floating[Any]] | None = None,
    factor: float = 1.0,
) -> NDArray[np.float64]:
    """Compute ``factor * x @ weight.T + bias + residual`` in float64.

    Parameters
    ----------
    x : ndarray, (tokens, cols)
    weight : C4nWeight
    bias : ndarray, (rows,), optional
    residual : ndarray, (tokens, rows), optional
    factor : float
    """
    out = factor * (x.astype(np.float64) @ weight.dense().astype(np.float64).T)
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
    factor: float = 1.0,
) -> Any:
    """Emit a C4n linear; integer weights, unless narrow, quantise the activations to int8 first.

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
    factor : float
        What the product is multiplied by.

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
        factor=0.0 if factor == 1 else factor,
        batched=em.batched,
    )
    inputs = [x]
    if spec.integer:
        group = spec.scale_group
        padded = padded_cols(spec)
        how = QuantizeSpec(em.dynamic, spec.cols, group, padded, width, batched=em.batched)
        inputs = quantize.emit(em, x, how)
    inputs += [em.constant(array) for array in stored_arrays(weight)]
    if bias is not None:
        inputs.append(em.constant(bias))
    if residual is not None:
        inputs.append(residual)
    out = relax.TensorType((em.tokens, spec.rows), "float32")
    return em.call(define(spec), inputs, [out])[0]
