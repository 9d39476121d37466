"""A C4n linear operator that reads the matrices of a token's experts only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops import quantize
from tvm_c4n.ops.c4n_linear import LinearArgs, define_row, padded_cols
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.expert_weights import ExpertWeights, arrays_of, form_of, rows_apart
from tvm_c4n.ops.spec import ExpertLinearSpec, ExpertWeightsSpec, LinearSpec, QuantizeSpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of
from tvm_c4n.sparsity import AnyWeight


@dataclass(frozen=True)
class ExpertArgs:
    """The declared arguments of the PrimFunc.

    Attributes
    ----------
    x, x_scales, residual, out : as in `LinearArgs`
        `x`, if they are mixed, and else `out` have a token's vectors for its experts side by side.
    weights : ExpertWeights
    chosen : Buffer
        ``(tokens, chosen)`` int32.
    shares : Buffer or None
        ``(tokens, chosen)`` float32, only if they are mixed.
    """

    x: Any
    x_scales: Any
    weights: ExpertWeights
    chosen: Any
    shares: Any
    residual: Any
    out: Any

    def expert(self, spec: ExpertLinearSpec, t: Any, j: Any) -> Any:
        """Return a token's expert as an index; whatever the number, it is one that there is."""
        number = T.cast(self.chosen[t, j], "int64")
        return T.bind(T.max(T.int64(0), T.min(number, T.int64(spec.experts - 1))))

    def share(self, t: Any, j: Any) -> Any:
        """Return what the product of a token's j-th expert counts; None if they are not mixed."""
        return None if self.shares is None else T.bind(self.shares[t, j])


def declare(spec: ExpertLinearSpec, tokens: Any) -> ExpertArgs:
    """Declare the arguments inside a PrimFunc that is being built."""
    one, vectors = spec.one, spec.chosen if spec.mixed else 1
    x_scales = shares = residual = None
    if spec.integer:
        width = vectors * padded_cols(one)
        x = declare_or_bind("x", (tokens, width), "int8")
        x_scales = declare_or_bind("x_scales", (tokens, width // spec.scale_group))
    else:
        x = declare_or_bind("x", (tokens, vectors * spec.cols))
    weights = ExpertWeights.declare(spec)
    chosen = declare_or_bind("chosen", (tokens, spec.chosen), "int32")
    if spec.mixed:
        shares = declare_or_bind("shares", (tokens, spec.chosen))
        residual = declare_or_bind("residual", (tokens, spec.rows))
    columns = spec.rows if spec.mixed else spec.chosen * spec.rows
    out = declare_or_bind("out", (tokens, columns))
    return ExpertArgs(x, x_scales, weights, chosen, shares, residual, out)


def define(spec: ExpertLinearSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        linear = LinearArgs(args.x, args.x_scales, [], None, None, args.out)
        with loop(tokens) as m, T.serial(spec.chosen) as j, T.serial(spec.rows) as row:
            expert = args.expert(spec, m, j)
            column = row if spec.mixed else j * spec.rows + row
            if spec.mixed:
                before = T.if_then_else(j == 0, args.residual[m, row], args.out[m, row])
            else:
                before = T.float32(0)
            T.buffer_store(args.out, before, [m, column])

            def add(part: Any) -> None:
                if spec.mixed:
                    part = part * args.shares[m, j]
                T.buffer_store(args.out, args.out[m, column] + part, [m, column])

            def product(one: LinearSpec, arrays: list[Any], number: Any) -> None:
                place = (m, j if spec.mixed else 0)
                own = replace(linear, weights=arrays)
                define_row(one, own, place, number * rows_apart(spec) + row, add)

            args.weights.select(expert, product)

    return build(spec, "expert_linear", body)


def oracle(
    x: NDArray[np.floating[Any]],
    weight: AnyWeight,
    chosen: NDArray[np.integer[Any]],
    shares: NDArray[np.floating[Any]] | None = None,
    residual: NDArray[np.floating[Any]] | None = None,
    *,
    experts: int,
) -> NDArray[np.float64]:
    """Compute in float64; with shares the products of a token are mixed.

    Parameters
    ----------
    x : (tokens, cols), or (tokens, chosen * cols) if they are mixed
    weight : C4nWeight or StackedWeight
        Of all experts.
    chosen, shares : (tokens, chosen)
    residual : (tokens, rows)
    experts : int
    """
    dense = weight.dense().astype(np.float64).reshape(experts, -1, weight.cols)
    vectors = x.astype(np.float64).reshape(len(x), -1, weight.cols)
    vectors = np.broadcast_to(vectors, (*chosen.shape, weight.cols))
    products = np.einsum("tjrc,tjc->tjr", dense[chosen], vectors)
    if shares is None:
        return np.asarray(products.reshape(len(x), -1))
    mixed = np.einsum("tj,tjr->tr", shares, products)
    return np.asarray(mixed if residual is None else mixed + residual)


def emit(
    em: Emitter,
    x: Any,
    weight: AnyWeight,
    chosen: Any,
    *,
    experts: int,
    shares: Any = None,
    residual: Any = None,
) -> Any:
    """Emit the operator; integer weights, unless narrow, quantise the activations to int8 first.

    Parameters
    ----------
    em : Emitter
    x : relax.Expr
        ``(tokens, cols)`` float32, or ``(tokens, chosen * cols)`` if they are mixed.
    weight : C4nWeight or StackedWeight
        Of all experts; its arrays become constants of the function.
    chosen, shares : relax.Expr
        Of `tvm_c4n.ops.route`; shares mix the products.
    experts : int
    residual : relax.Expr, optional
        ``(tokens, rows)`` float32, with shares.

    Returns
    -------
    relax.Var
        ``(tokens, rows)`` float32, or ``(tokens, chosen * rows)``.
    """
    spec = ExpertLinearSpec(
        dynamic=em.dynamic,
        **form_of(weight, experts),
        chosen=int(chosen.ty.shape[1]),
        mixed=shares is not None,
        batched=em.batched,
    )
    inputs = activations(em, x, weight, spec.chosen if spec.mixed else 1)
    inputs += [em.constant(array) for array in arrays_of(weight)]
    inputs += [chosen, *([shares, residual] if spec.mixed else [])]
    columns = spec.rows if spec.mixed else spec.chosen * spec.rows
    out = relax.TensorType((em.tokens, columns), "float32")
    return em.call(define(spec), inputs, [out])[0]


def activations(em: Emitter, x: Any, weight: AnyWeight, parts: int = 1) -> list[Any]:
    """Emit what a weight multiplies: ``(tokens, parts * cols)`` float32 or, with scales, int8.

    Vectors that fill whole groups become int8 as one long one.
    """
    one = replace(ExpertWeightsSpec(em.dynamic, **form_of(weight, 1)).one, dynamic=em.dynamic)
    if not one.integer:
        return [x]
    cols, padded, width = weight.cols, padded_cols(one), parts * weight.cols
    if cols == padded:
        parts, cols, padded = 1, width, width
    group = weight.scale_group
    how = QuantizeSpec(em.dynamic, cols, group, padded, width, parts=parts, batched=em.batched)
    return quantize.emit(em, x, how)
