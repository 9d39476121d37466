"""RegionSignature: names instead of positions, and what must fit together."""

from __future__ import annotations

import pytest

from relay_passes.regions.signature import (
    Carried,
    Fresh,
    InPlace,
    Invariant,
    LayerIndex,
    Param,
    RegionSignature,
    Result,
    Weight,
)
from tests.relay_passes.rolled_case import ROW, WORK, turn
from tvm_c4n._tvm import relax, structural_equal

STATE = relax.TensorType((4, 8), "float32")
INDEX = relax.prim_value(0).ty

LAYER = RegionSignature(
    (
        Param("x", ROW, Carried("y")),
        Param("w", ROW, Weight()),
        Param("layer", INDEX, LayerIndex(0)),
        Param("a", ROW, Invariant()),
        Param("h", STATE, Carried("h")),
    ),
    (Result("h", STATE, InPlace("h")), Result("y", ROW, Fresh()), Result("work", WORK, Fresh())),
)


def test_arguments_are_the_parameters_and_the_fresh_results() -> None:
    assert [entry.name for entry in LAYER.arguments] == ["x", "w", "layer", "a", "h", "y", "work"]


def test_only_what_is_carried_in_fresh_memory_needs_a_buffer() -> None:
    ((param, result),) = LAYER.carry_buffers
    assert (param.name, result.name) == ("x", "y")


def test_a_call_says_which_parameter_is_updated() -> None:
    gvar = relax.BlockBuilder().add_func(turn, "turn")
    values = [relax.Var(p.name, p.type) for p in LAYER.params]
    call = LAYER.call(gvar, values)
    assert call.op.name == "relax.call_tir_inplace"
    assert [int(i) for i in call.attrs.inplace_indices] == [4, -1, -1]
    fresh = RegionSignature(LAYER.params[:2], LAYER.results[1:])
    assert fresh.call(gvar, values[:2]).op.name == "relax.call_tir"


def test_a_signature_is_read_back_from_its_call() -> None:
    bb = relax.BlockBuilder()
    x, w, k = (relax.Var(n, t) for n, t in (("x", ROW), ("w", WORK), ("k", INDEX)))
    gvar = bb.add_func(turn, "turn")
    call = bb.normalize(relax.call_tir(gvar, [x, w, k], [ROW, WORK]))
    found = RegionSignature.of_call(turn, call)
    assert [p.name for p in found.params] == ["x", "weight", "k"]
    assert [(r.name, r.storage) for r in found.results] == [("y", Fresh()), ("work", Fresh())]
    assert structural_equal(found.results[0].type, ROW)
    again = found.call(gvar, [x, w, k])
    assert structural_equal(again.ty_args, call.ty_args)


def test_workspaces_are_large_enough_for_all() -> None:
    small, large = (Result.workspace("float32", [n]) for n in (8, 16))
    other = Result.workspace("int8", [4])
    assert small.is_workspace
    assert not Result("y", ROW).is_workspace
    whole = RegionSignature((), (Result("y", ROW), small)).with_workspaces_of(
        [RegionSignature((), (Result("y", ROW), large, other)), RegionSignature((), (small,))]
    )
    assert [(r.name, int(r.type.shape[-1])) for r in whole.results] == [
        ("y", 8), ("work_float32", 16), ("work_int8", 4),
    ]  # fmt: skip


def test_roles_make_a_new_signature() -> None:
    plain = LAYER.with_roles([Invariant()] * 5)
    assert plain.carry_buffers == ()
    assert plain.with_roles([p.role for p in LAYER.params]) == LAYER


@pytest.mark.parametrize(
    ("params", "results", "message"),
    [
        ((Param("x", ROW), Param("x", ROW)), (), "not unique"),
        ((Param("x", ROW),), (Result("x", ROW),), "not unique"),
        ((Param("x", ROW),), (Result("y", ROW, InPlace("y")),), "does not have"),
        ((Param("x", ROW, Carried("y")),), (), "does not have"),
    ],
)
def test_names_must_be_there_and_unique(
    params: tuple[Param, ...], results: tuple[Result, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RegionSignature(params, results)
