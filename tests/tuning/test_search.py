"""The candidates of a task: what comes next, and what comes back."""

from __future__ import annotations

import pytest

import schedules
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.tuning.search import Search
from tvm_c4n.tuning.tasks import DecisionKey, Task, decision_key

TARGET = resolve_target("host")
SPEC = ConvSpec(True, 768, 4, 2, 1536)
TASK = Task(SPEC, 3, schedules.space_of(SPEC, isa_of(TARGET)))


def search_with(times: dict[DecisionKey, float]) -> Search:
    return Search.of(TASK, TARGET, times)


def test_a_new_task_begins_with_its_default() -> None:
    search = search_with({})
    assert search.default_is_next()
    assert decision_key(search.untried[0][0]) == TASK.default
    assert search.priority() == float("inf")


def test_a_task_resumes_with_what_was_not_timed() -> None:
    search = search_with({TASK.default: 2.0})
    left = [decision_key(decisions) for decisions, _ in search.untried]
    assert TASK.default not in left
    total = len(left) + 1
    assert search.priority() == pytest.approx(2.0 * TASK.calls * len(left) / total**2)
    search.untried.clear()
    assert search.priority() == 0


def test_what_did_not_run_comes_back_once() -> None:
    search = search_with({})
    default, other = search.untried.pop(0), search.untried.pop(0)
    for _ in range(2):
        search.requeue(*other)
        search.requeue(*default)
    order = [decision_key(decisions) for decisions, _ in search.untried]
    assert order[0] == TASK.default
    assert order[-1] == decision_key(other[0])
    assert len(order) == len(set(order))
