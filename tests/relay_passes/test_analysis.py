"""Classes of kernels, as TVM's legalisation writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay_passes.analysis import Kind, is_copy, is_one, kind_of, leaf_blocks, walk
from tests.relay_passes.c4n_layer import layer, linear_of, weight_of
from tvm_c4n._tvm import IRModule, PrimFunc, TensorLoad, relax, tirx


def kernel(make: Any, shape: tuple[int, ...] = (4, 6)) -> PrimFunc:
    """The only kernel of ``main(x) = make(x)`` after legalisation."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.normalize(make(x)))
        bb.emit_func_output(out)
    mod: IRModule = relax.transform.LegalizeOps()(bb.get())
    return next(func for _, func in mod.functions_items() if isinstance(func, PrimFunc))


R = relax.op
OPS: dict[str, tuple[Any, Kind]] = {
    "transpose": (lambda x: R.permute_dims(x), Kind.LAYOUT),
    "slice": (lambda x: R.strided_slice(x, [1], [2], [5]), Kind.LAYOUT),
    "concat": (lambda x: R.concat([x, x], axis=1), Kind.LAYOUT),
    "repeat": (lambda x: R.broadcast_to(x, (3, 4, 6)), Kind.LAYOUT),
    "reshape": (lambda x: R.reshape(x, (2, 12)), Kind.VIEW),
    "expand": (lambda x: R.expand_dims(x, 1), Kind.VIEW),
    "add": (lambda x: R.add(x, x), Kind.FREE),
    "relu": (lambda x: R.nn.relu(x), Kind.FREE),
    "sum": (lambda x: R.sum(x, axis=1), Kind.FREE),
    "softmax": (lambda x: R.nn.softmax(x), Kind.FREE),
    # Chooses by data, and reads at places that are data: neither only moves elements.
    "where": (lambda x: R.where(relax.const(np.ones((4, 6), bool)), x, x), Kind.FREE),
    "lookup": (lambda x: R.take(x, relax.const(np.array([1, 0], "int64")), axis=0), Kind.FREE),
}


@pytest.mark.parametrize("name", OPS)
def test_operators_are_classed_by_what_they_do_with_elements(name: str) -> None:
    make, expected = OPS[name]
    assert kind_of(kernel(make)) == expected


def test_our_kernels_and_what_is_no_kernel_are_fixed() -> None:
    mod = layer(weight_of("int8"))
    assert kind_of(linear_of(mod)) == Kind.FIXED
    assert kind_of(mod["main"]) == Kind.FIXED


def test_blocks_of_a_nest_come_in_order() -> None:
    blocks = leaf_blocks(kernel(lambda x: R.nn.softmax(x)))
    assert len(blocks) == 4  # maximum, exponential, sum, quotient
    assert not any(map(is_copy, blocks))
    assert [is_copy(block) for block in leaf_blocks(kernel(lambda x: R.permute_dims(x)))] == [True]


def test_walking_yields_every_expression_once() -> None:
    value = leaf_blocks(kernel(lambda x: R.add(x, x)))[0].body.value
    found = list(walk(value))
    assert found[0].same_as(value)
    assert sum(isinstance(expr, TensorLoad) for expr in found) == 2


def test_only_a_known_length_is_one() -> None:
    assert is_one(tirx.IntImm("int64", 1))
    assert not is_one(tirx.IntImm("int64", 2))
    assert not is_one(tirx.Var("n", "int64"))
