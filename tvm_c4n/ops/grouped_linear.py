"""A C4n linear operator on rows that are ordered by expert, each with its own expert's matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.c4n_linear import LinearArgs, define_row, padded_cols
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.expert_weights import ExpertWeights, arrays_of, form_of, rows_apart
from tvm_c4n.ops.spec import GroupedLinearSpec, LinearSpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of
from tvm_c4n.sparsity import AnyWeight


class GroupedArgs(NamedTuple):
    """The declared arguments: those of a linear operator, and ``(experts + 1,)`` int32.

    Rows ``starts[e]`` to ``starts[e + 1] - 1`` are those of expert e; the weights are beside the
    operator's other arguments.
    """

    linear: LinearArgs
    weights: ExpertWeights
    starts: Any

    def rows_of(self, expert: Any) -> tuple[Any, Any]:
        """Return the first row of an expert, and how many it has."""
        first, end = (T.cast(self.starts[e], "int64") for e in (expert, expert + 1))
        first = T.bind(first)
        return first, T.bind(end - first)


def declare(spec: GroupedLinearSpec, rows: Any) -> GroupedArgs:
    """Declare the arguments inside a PrimFunc that is being built."""
    x_scales = None
    if spec.integer:
        padded = padded_cols(spec.one)
        x = declare_or_bind("x", (rows, padded), "int8")
        x_scales = declare_or_bind("x_scales", (rows, padded // spec.scale_group))
    else:
        x = declare_or_bind("x", (rows, spec.cols))
    weights = ExpertWeights.declare(spec)
    starts = declare_or_bind("starts", (spec.experts + 1,), "int32")
    out = declare_or_bind("out", (rows, spec.rows))
    return GroupedArgs(LinearArgs(x, x_scales, [], None, None, out), weights, starts)


def define(spec: GroupedLinearSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        args = declare(spec, tokens_of(spec))
        out = args.linear.out
        with T.serial(spec.experts) as expert:
            first, count = args.rows_of(expert)
            with loop(count) as number, T.serial(spec.rows) as row:
                m = T.bind(first + number)
                T.buffer_store(out, T.float32(0), [m, row])

                def add(part: Any) -> None:
                    T.buffer_store(out, out[m, row] + part, [m, row])

                def product(one: LinearSpec, arrays: list[Any], number: Any) -> None:
                    own = replace(args.linear, weights=arrays)
                    define_row(one, own, (m, 0), number * rows_apart(spec) + row, add)

                args.weights.select(expert, product)

    return build(spec, "grouped_linear", body)


def emit(pairs: Emitter, inputs: list[Any], weight: AnyWeight, starts: Any, experts: int) -> Any:
    """Emit the operator.

    Parameters
    ----------
    pairs : Emitter
        Its tokens are the rows.
    inputs : list of relax.Expr
        ``(rows, cols)`` float32, or int8 with scales: `tvm_c4n.ops.expert_linear.activations`.
    weight : C4nWeight or StackedWeight
        Of all experts; its arrays become constants of the function.
    starts : relax.Expr
        Of `tvm_c4n.ops.expert_groups`.
    experts : int

    Returns
    -------
    relax.Var
        ``(rows, rows of an expert)`` float32.
    """
    spec = GroupedLinearSpec(pairs.dynamic, **form_of(weight, experts))
    arguments = [*inputs, *(pairs.constant(a) for a in arrays_of(weight)), starts]
    out = relax.TensorType((pairs.tokens, spec.rows), "float32")
    return pairs.call(define(spec), arguments, [out])[0]
