"""EliminateCommonTransposes: what is shared, and what must not be."""

from __future__ import annotations

from typing import Any

import numpy as np

from relay_passes import EliminateCommonTransposes
from relay_passes.dump_module import count_calls
from tvm_c4n._tvm import IRModule, T, relax, tvm
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import build, declare_or_bind


def add_one() -> Any:
    """A kernel that adds one to its argument in place."""

    def body() -> None:
        x = declare_or_bind("x", (6, 6))
        with T.serial(6) as i, T.serial(6) as j:
            T.buffer_store(x, x[i, j] + T.float32(1), [i, j])

    return build(OpSpec(dynamic=False), "add_one", body).with_attr("c4n.kind", "add_one")


def twice(axes: tuple[list[int], list[int]], *, in_place: bool) -> IRModule:
    """Turns x twice; one copy may be changed before both are added."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((6, 6), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            first, second = (bb.emit(relax.op.permute_dims(x, a)) for a in axes)
            if in_place:
                (first,) = Emitter(bb, 1, lambda _: None).call(  # type: ignore[arg-type]
                    add_one(), [first], [first.ty], inplace=0
                )
            out = bb.emit_output(relax.op.add(first, second))
        bb.emit_func_output(out)
    return bb.get()


def turns(mod: IRModule) -> int:
    return count_calls(mod)["relax.permute_dims"]


def test_equal_transposes_are_shared() -> None:
    assert turns(EliminateCommonTransposes()(twice(([1, 0], [1, 0]), in_place=False))) == 1


def test_different_transposes_are_not() -> None:
    before = twice(([1, 0], [0, 1]), in_place=False)
    tvm.ir.assert_structural_equal(EliminateCommonTransposes()(before), before)


def test_a_tensor_that_is_updated_in_place_is_not_shared() -> None:
    after = EliminateCommonTransposes()(twice(([1, 0], [1, 0]), in_place=True))
    assert turns(after) == 2
    x = np.arange(36, dtype=np.float32).reshape(6, 6)
    vm = relax.VirtualMachine(relax.build(after, "llvm"), tvm.cpu())
    np.testing.assert_array_equal(vm["main"](tvm.runtime.tensor(x)).numpy(), 2 * x.T + 1)
