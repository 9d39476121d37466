"""What there is to tune in a model."""

from __future__ import annotations

from pathlib import Path

from tvm_c4n._tvm import IRModule
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.tuning.tasks import operators_of, tasks_of

TARGET = resolve_target("arm64-linux")


def test_the_tasks_of_a_model_are_its_open_decisions(small_model: Path) -> None:
    tasks = tasks_of(small_model, TARGET)
    assert {task.spec.kind for task in tasks} == {"linear", "selective_scan", "conv1d"}
    assert [task.calls for task in tasks] == sorted((t.calls for t in tasks), reverse=True)
    for task in tasks:
        assert task.default == tuple(sorted((n, c[0]) for n, c in task.space.items()))


def test_operators_are_counted_by_function(small_model: Path) -> None:
    step = operators_of(small_model, TARGET, only="step")
    calls = {(s.rows, s.cols): n for s, n in step.items() if isinstance(s, LinearSpec)}
    # Two layers, and a head.
    assert calls == {(128, 32): 2, (16, 64): 2, (64, 8): 2, (32, 64): 2, (96, 32): 1}
    assert not any(spec.dynamic for spec in step)
    assert sum(operators_of(small_model, TARGET).values()) > sum(step.values())


def test_a_module_has_the_tasks_of_its_layers(sparse_layer: IRModule) -> None:
    (task,) = tasks_of(sparse_layer, TARGET)
    assert str(task) == "step 256x64 n=2 float32"
