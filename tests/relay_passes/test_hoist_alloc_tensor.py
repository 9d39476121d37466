"""HoistAllocTensor: what becomes one tensor, and what must stay apart."""

from __future__ import annotations

from typing import Any

import pytest
from tvm.script import ir as I
from tvm.script import relax as R

from relay_passes import HoistAllocTensor
from relay_passes.dump_module import count_calls
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.build import phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model

ALLOC = "relax.memory.alloc_tensor"


def planned(shapes: list[tuple[int, ...]], *, whole: bool = False, branch: bool = False) -> Any:
    """A function with tensors of these shapes in one storage, and a tuple of the last two."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    condition = relax.Var("condition", relax.TensorType((), "bool"))
    memory = relax.op.memory
    with bb.function("main", [x, condition]):
        storage = bb.emit(memory.alloc_storage(relax.ShapeExpr([64]), 0, "global", "float32"))
        tensors = [
            bb.emit(memory.alloc_tensor(storage, 0, relax.ShapeExpr(shape), "float32"))
            for shape in shapes
        ]
        pair = bb.emit(relax.Tuple(tensors[-2:]))
        result = bb.emit(relax.TupleGetItem(pair, 1))
        if branch:
            result = bb.emit(relax.If(condition, result, result))
        bb.emit_func_output(relax.Tuple([pair, result]) if whole else result)
    return bb.get()


def tuples(mod: IRModule) -> int:
    """How many bindings are tuples."""
    (block,) = mod["main"].body.blocks
    return sum(isinstance(binding.value, relax.Tuple) for binding in block.bindings)


def test_equal_tensors_of_a_storage_are_one() -> None:
    after = HoistAllocTensor()(planned([(4,), (4,), (4,)]))
    assert count_calls(after)[ALLOC] == 1
    assert tuples(after) == 0


def test_tensors_of_other_shapes_stay_apart() -> None:
    after = HoistAllocTensor()(planned([(4,), (2, 2), (4,)]))
    assert count_calls(after)[ALLOC] == 2


def test_a_tuple_that_is_used_as_a_whole_stays() -> None:
    after = HoistAllocTensor()(planned([(4,), (4,)], whole=True))
    relax.analysis.well_formed(after)  # raises
    assert tuples(after) >= 1


@pytest.mark.parametrize("alias", [False, True])
def test_a_tuple_that_is_returned_stays(alias: bool) -> None:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with bb.function("main", [x]):
        shape = relax.ShapeExpr([4])
        storage = bb.emit(
            relax.op.memory.alloc_storage(relax.ShapeExpr([16]), 0, "global", "float32")
        )
        tensor = bb.emit(relax.op.memory.alloc_tensor(storage, 0, shape, "float32"))
        pair = bb.emit(relax.Tuple([x, tensor]))
        bb.emit(relax.op.add(bb.emit(relax.TupleGetItem(pair, 0)), x))
        if alias:
            other = relax.Var("other", pair.ty)
            bb.emit_normalized(relax.VarBinding(other, pair))
            pair = other
        bb.emit_func_output(pair)
    after = HoistAllocTensor()(bb.get())
    relax.analysis.well_formed(after)  # raises
    assert tuples(after) == 1


def test_a_function_with_branches_is_left_alone() -> None:
    before = planned([(4,), (4,)], branch=True)
    tvm.ir.assert_structural_equal(HoistAllocTensor()(before), before)


@I.ir_module
class Unplanned:
    """Nothing of it is planned memory."""

    @R.function
    def main(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        with R.dataflow():
            lv = x
            gv = R.add(lv, lv)
            R.output(gv)
        return gv


def test_a_function_without_planned_memory_is_left_alone() -> None:
    tvm.ir.assert_structural_equal(HoistAllocTensor()(Unplanned), Unplanned)


@pytest.mark.parametrize(
    ("name", "most"), [("step", 7), pytest.param("prefill", 30, marks=pytest.mark.slow)]
)
def test_the_tensors_of_a_model_do_not_grow_with_its_layers(name: str, most: int) -> None:
    checkpoint = open_checkpoint("mamba-19m-n2-int4")
    config = describe_model(checkpoint.config)
    target = resolve_target("host")
    select = selector(target)
    mod = build_model(config, checkpoint)
    mod = prepare(mod, select, phases_for(select, lift=True))
    t = relax.transform
    passes = [t.RewriteDataflowReshape(), t.ToNonDataflow(), t.RemovePurityChecking()]
    passes += [t.CallTIRRewrite(), t.StaticPlanBlockMemory(), HoistAllocTensor()]
    with target:
        after = tvm.transform.Sequential(passes)(mod)
    calls = count_calls(IRModule({name: after[name]}))
    assert calls[ALLOC] <= most
