"""Which calls become one region."""

from __future__ import annotations

from typing import Any

import pytest

from relay_passes.regions.select import Run, split_into_runs
from tests.relay_passes.fused_case import ACCUMULATE, Apart, choose
from tvm_c4n.ops.spec import OpSpec

(BLOCK,) = Apart["main"].body.blocks
BINDINGS = {binding.var.name: binding for binding in BLOCK.bindings}


def runs(bindings: list[Any], choose: Any = choose) -> list[Run]:
    return [p for p in split_into_runs(choose, Apart, bindings) if isinstance(p, Run)]


def test_calls_after_each_other_are_one_run_with_the_items_of_their_tuples() -> None:
    (run,) = runs(list(BLOCK.bindings))
    assert [binding.var.name for binding in run.bindings] == ["lv", "lv1", "lv2", "lv3"]
    assert [value.name for value in run.external_inputs] == ["x", "state"]
    assert [var.name for var in run.outputs] == ["lv", "lv2", "lv3"]
    assert run.calls[1].inplace == {0: 1}
    assert run.can_fuse(set())


def test_a_call_without_a_rule_is_in_no_run() -> None:
    def only_double(spec: OpSpec) -> Any:
        return None if spec == ACCUMULATE else choose(spec)

    (run,) = runs(list(BLOCK.bindings), only_double)
    assert len(run.calls) == 1
    assert not run.can_fuse(set())  # one kernel is not worth a region


@pytest.mark.parametrize(("unused", "can_fuse"), [("lv2", True), ("lv3", False)])
def test_an_output_without_a_variable_must_be_in_place(unused: str, can_fuse: bool) -> None:
    (run,) = runs([b for name, b in BINDINGS.items() if name != unused])
    assert run.can_fuse(set()) == can_fuse


def test_a_tuple_that_is_read_later_stays() -> None:
    (run,) = runs(list(BLOCK.bindings))
    assert not run.can_fuse({BINDINGS["lv1"].var})
