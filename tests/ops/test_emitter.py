"""Constants and calls of the Relax functions that operators are emitted into."""

from __future__ import annotations

import numpy as np

from tvm_c4n._tvm import relax
from tvm_c4n.ops import quantize
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.spec import QuantizeSpec


def test_an_array_is_one_constant() -> None:
    pool, array = ConstantPool(), np.ones(3, np.float32)
    assert pool(array).same_as(pool(array))
    assert not pool(array).same_as(pool(array.copy()))


def test_a_call_on_the_same_variables_is_made_once() -> None:
    bb, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType((1, 64), "float32"))
    spec = QuantizeSpec(False, 64, 64, 64, 64)
    with bb.function("main", [x]):
        with bb.dataflow():
            em = Emitter(bb, 1, ConstantPool())
            first, again = (quantize.emit(em, x, spec) for _ in range(2))
            quantize.emit(em, x, spec).clear()  # a list of the caller's own
            third = quantize.emit(em, x, spec)
            other = quantize.emit(em, bb.emit(relax.op.negative(x)), spec)
            out = bb.emit_output(relax.Tuple([*first, *other]))
        bb.emit_func_output(out)
    assert first == again == third
    assert not set(first) & set(other)


def test_several_inputs_are_updated_in_place() -> None:
    bb, row = relax.BlockBuilder(), relax.TensorType((1, 64), "float32")
    x, state = (relax.Var(name, row) for name in ("x", "state"))
    func = quantize.define(QuantizeSpec(False, 64, 64, 64, 64))
    with bb.function("main", [x, state]):
        with bb.dataflow():
            em = Emitter(bb, 1, ConstantPool())
            out = bb.emit_output(em.call(func, [x, state], [row, row, row], (1, 0))[2])
        bb.emit_func_output(out)
    call = bb.get()["main"].body.blocks[0].bindings[0].value
    assert [int(place) for place in call.attrs.inplace_indices] == [1, 0, -1]


def test_a_symbolic_number_of_tokens_is_dynamic() -> None:
    bb, pool = relax.BlockBuilder(), ConstantPool()
    assert not Emitter(bb, 1, pool).dynamic
    assert Emitter(bb, relax.Var("n"), pool).dynamic
