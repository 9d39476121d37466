"""Which calls of regions are layers of one loop, and the roles of parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from tvm.script import tirx as T

from relay_passes.regions.roll import LayerCall, LayerRun, split_into_layer_runs
from relay_passes.regions.signature import Carried, Invariant, LayerIndex, RegionSignature, Weight
from tests.relay_passes.rolled_case import ROW, TURNS, WORK, turn
from tvm_c4n._tvm import IRModule, PrimFunc, relax


def module(region: PrimFunc) -> IRModule:
    bb = relax.BlockBuilder()
    bb.add_func(region, "region")
    return bb.get()


def layer_calls(mod: IRModule, inputs: Sequence[Any]) -> list[LayerCall]:
    """Calls of the only region; each takes the first result of the one before first."""
    (gvar,) = mod.get_global_vars()
    calls: list[LayerCall] = []
    for values in inputs:
        arguments = list(values)
        if calls:
            arguments[0] = calls[-1].items["y"]
        call = relax.BlockBuilder(mod).normalize(relax.call_tir(gvar, arguments, [ROW, WORK]))
        var = relax.DataflowVar("both", call.ty)
        signature = RegionSignature.of_call(mod[gvar], call)
        calls.append(LayerCall(var, call, signature, {"y": relax.DataflowVar("y", ROW)}))
    return calls


def reads(calls: list[LayerCall]) -> Counter[Any]:
    """How often each variable is read, if only the next layer reads a result."""
    return Counter([call.var for call in calls] + [call.items["y"] for call in calls[:-1]])


X = relax.Var("x", ROW)
REGION = module(turn)


def run_of(calls: list[LayerCall]) -> LayerRun:
    run = LayerRun([calls[0]])
    for call in calls[1:]:
        assert run.takes(call, reads(calls))
    return run


def test_parameters_get_their_roles() -> None:
    inputs = [(X, relax.const(w), relax.prim_value(5 + i)) for i, w in enumerate(TURNS)]
    run = run_of(layer_calls(REGION, inputs))
    assert run.roles == (Carried("y"), Weight(), LayerIndex(5))
    assert [param.role for param in run.signature.params] == list(run.roles)


def test_one_weight_for_all_layers_is_invariant() -> None:
    weight = relax.const(TURNS[0])
    run = run_of(layer_calls(REGION, [(X, weight, relax.prim_value(i)) for i in range(3)]))
    assert run.roles[1] == Invariant()


def test_an_index_that_does_not_count_up_ends_the_run() -> None:
    pairs = zip(TURNS, (0, 1, 3), strict=True)
    inputs = [(X, relax.const(weight), relax.prim_value(index)) for weight, index in pairs]
    calls = layer_calls(REGION, inputs)
    run = LayerRun(calls[:1])
    assert run.takes(calls[1], reads(calls))
    assert not run.takes(calls[2], reads(calls))


@T.prim_func(private=True, s_tir=True)
def two_rows(
    a: T.Buffer((1, 8), "float32", layout=None),
    b: T.Buffer((1, 8), "float32", layout=None),
    y: T.Buffer((1, 8), "float32", layout=None),
    work: T.Buffer((8,), "float32", layout=None),
):
    """A region that takes two rows."""
    T.func_attr({"c4n.region": "a", "c4n.schedules": "a"})
    with T.sblock("root"):
        T.reads()
        T.writes()
        for i in T.parallel(8):
            work[i] = a[0, i]
            y[0, i] = work[i] - b[0, i]


@pytest.mark.parametrize(("both", "rolled"), [(False, True), (True, False)])
def test_two_parameters_cannot_carry_one_result(both: bool, rolled: bool) -> None:
    """They begin with different values in the first layer, and would share one buffer."""
    mod = module(two_rows)
    other = relax.Var("other", ROW)
    first, second = layer_calls(mod, [(X, other), (X, other)])
    if both:
        row = first.items["y"]
        call = relax.call_tir(second.gvar, [row, row], [ROW, WORK])
        second.call = relax.BlockBuilder(mod).normalize(call)
    assert LayerRun([first]).takes(second, reads([first, second])) == rolled


def test_a_call_between_two_layers_parts_them() -> None:
    bb = relax.BlockBuilder()
    x = relax.Var("x", ROW)
    with bb.function("main", [x]):
        with bb.dataflow():
            gvar, value = bb.add_func(turn, "turn"), x
            for number, weight in enumerate(TURNS):
                values = [value, relax.const(weight), relax.prim_value(number)]
                value = bb.emit(
                    relax.TupleGetItem(bb.emit(relax.call_tir(gvar, values, [ROW, WORK])), 0)
                )
                if number == 1:
                    value = bb.emit(relax.op.negative(value))
            out = bb.emit_output(value)
        bb.emit_func_output(out)
    mod = relax.transform.CanonicalizeBindings()(bb.get())
    (block,) = mod["main"].body.blocks
    count = Counter(v for b in block.bindings for v in relax.analysis.free_vars(b.value))
    parts = split_into_layer_runs(mod, list(block.bindings), count)
    assert [len(p.calls) if isinstance(p, LayerRun) else 0 for p in parts] == [2, 0, 1]
