"""`tune` and `records` on the command line, and what `compile` says of tuned kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n.compile import records as store
from tvm_c4n.compile.records import (
    BEST,
    CONFIRMATIONS,
    MANIFEST,
    Best,
    RecordsManifest,
    key_of,
    machine_of,
    open_records,
    write_best,
    write_manifest,
)
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.tuning.tasks import Task, tasks_of

Call = Callable[..., Any]
HOST = resolve_target("host")


@pytest.fixture(scope="module")
def tasks(pruned: Path) -> list[Task]:
    """What there is to tune in the small model."""
    return tasks_of(pruned, HOST)


def write_records(folder: Path, tasks: list[Task], **machine: str) -> Path:
    """Records that decide as the defaults do not, wherever there is a choice."""
    about = machine_of(HOST).model_copy(update=machine)
    write_manifest(folder, RecordsManifest(target=about, threads=1, emulated=False))
    best = [
        Best(
            spec=key_of(task.spec),
            decisions={name: choices[-1] for name, choices in task.space.items()},
            seconds=1e-6,
            default_seconds=2e-6,
        )
        for task in tasks
    ]
    write_best(folder, best)
    return folder


def test_a_small_model_is_tuned_here(call: Call, small_model: Path, tmp_path: Path) -> None:
    """Also with the former spelling of an option."""
    pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")
    folder = tmp_path / "records"
    options = ["--local", "--trials", 2, "--batch", 2, "--samples", 1, "--no-confirm"]
    result = call("tune", small_model, "--records", folder, *options, "--phones", 1)
    assert result.code == 0, result.err
    title, *table = result.out.splitlines()
    assert title == f"{folder}: the best of each kernel"
    assert max(map(len, table)) <= 80
    assert len(open_records(folder).best) >= 1
    assert "--phones" not in call("tune", "--help").out


def test_compiling_says_what_is_tuned_and_the_text_stays(
    call: Call, pruned: Path, artifact: Path, tasks: list[Task], tmp_path: Path
) -> None:
    assert {"linear", "selective_scan", "conv1d"} == {task.spec.kind for task in tasks}
    folder, out = write_records(tmp_path / "records", tasks), tmp_path / "tuned.art"
    result = call("compile", pruned, "-o", out, "--records", folder)
    assert result.code == 0, result.err
    tuned = [rule for rule in open_artifact(out).manifest.schedules.values() if "[" in rule]
    assert f"kernels:       {len(tuned)} tuned, " in result.out
    for part in ("c4n_gemv[", "c4n_gemm[", "selective_scan[", "conv1d["):
        assert any(rule.startswith(part) for rule in tuned)
    text = ["--prompt", "w3 w14 w15", "-n", 20]
    assert call("run", out, *text).out == call("run", artifact, *text).out


@pytest.mark.slow
def test_what_the_package_ships_is_taken_on_its_machine_alone(
    call: Call, pruned: Path, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    one = [next(task for task in tasks if task.spec.kind == "selective_scan")]
    write_records(shipped / "a", one, cpu="6502")
    monkeypatch.setattr(store, "SHIPPED", shipped)
    assert "kernels:       0 tuned, " in call("compile", pruned, "-o", tmp_path / "none.art").out
    write_records(shipped / "here", one)
    assert "kernels:       1 tuned, " in call("compile", pruned, "-o", tmp_path / "one.art").out


def test_records_are_listed_and_exported(call: Call, tasks: list[Task], tmp_path: Path) -> None:
    folder = write_records(tmp_path / "records", tasks)
    (folder / CONFIRMATIONS).write_text('{"format": 2, "comparisons": []}\n')
    (folder / "database_workload.json").write_text("")
    result = call("records", folder)
    assert machine_of(HOST).cpu in result.out
    assert str(tasks[0]) in result.out
    assert "100 %" in result.out
    call("records", folder, "--export", tmp_path / "out")
    exported = {path.name for path in (tmp_path / "out").iterdir()}
    assert exported == {BEST, MANIFEST, CONFIRMATIONS}
    assert open_records(tmp_path / "out").best == open_records(folder).best
    two = call("records", folder, folder, "--export", tmp_path / "two")
    assert "merge several first" in two.err
