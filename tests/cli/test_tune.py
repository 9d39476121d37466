"""Tuning on this machine: records, going on, best decisions, and what compiling makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import schedules
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.records import BEST, CONFIRMATIONS, MANIFEST, machine_of, open_records
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.sparsity import mask_from_scores

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")


def sparse_layer() -> tuple[IRModule, np.ndarray]:
    """A dense layer of 256 x 64 whose weight has two zeros in each group."""
    weight = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    weight *= mask_from_scores(np.abs(weight), 2)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 64), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            right = bb.emit(relax.op.permute_dims(relax.const(weight)))
            out = bb.emit_output(relax.op.matmul(x, right))
        bb.emit_func_output(out)
    return bb.get(), weight


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> tuple[Path, list[int]]:
    """Records of one layer's whole space, measured in two runs of which the first was cut off."""
    from tvm_c4n.tuning.database import RECORDS
    from tvm_c4n.tuning.device import kill_workers, local_runner
    from tvm_c4n.tuning.run import tune

    folder = tmp_path_factory.mktemp("tune") / "records"
    runner = local_runner(1, timeout_secs=120, samples=2, min_repeat_ms=1)
    measured: list[int] = []

    def run(trials: int) -> None:
        tune(
            sparse_layer()[0],
            runner=runner,
            records=folder,
            trials=trials,
            batch=4,
            cold_bytes=0,
            progress=lambda state: measured.append(state.trials),
        )

    run(4)
    file = folder / RECORDS
    file.write_bytes(file.read_bytes()[:-30])  # a kill in the middle of a write
    run(1000)
    kill_workers(runner)
    return folder, measured


def test_a_run_goes_on_and_measures_each_candidate_once(tuned):
    from tvm_c4n.tuning.database import open_database, valid_records

    folder, measured = tuned
    records = list(valid_records(open_database(folder)))
    (spec,) = {spec for spec, _, _ in records}
    space = schedules.space_of(spec, isa_of(resolve_target("host")))
    everything = np.prod([len(choices) for choices in space.values()])
    # The record that was cut was measured again, the other three of the first run were not.
    assert len(records) == everything
    assert len({tuple(decisions.items()) for _, decisions, _ in records}) == everything
    assert measured[0] == 4
    assert measured[-1] == everything - 3


class Flaky:
    """A runner that is unplugged at first; later, candidates take as long as their number says."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, inputs):
        from tvm_c4n.tuning.metaschedule import ms

        self.calls += len(inputs)
        failing = self.calls <= 4  # the first batch, with the default in it
        seconds = None if failing else [1.0 + self.calls]
        result = ms.runner.RunnerResult(seconds, "unplugged" if failing else None)
        return [SimpleNamespace(done=lambda: True, result=lambda: result)] * len(inputs)


def test_what_did_not_run_is_tried_once_more(tmp_path):
    from tvm_c4n.tuning.database import open_database, valid_records
    from tvm_c4n.tuning.run import tune

    runner, states = Flaky(), []
    folder = tmp_path / "records"
    options = {"runner": runner, "records": folder, "batch": 4, "cold_bytes": 0}
    mod, _ = sparse_layer()

    def progress(state):
        states.append((state.trials, state.failed))
        assert (folder / BEST).is_file()

    (best,) = tune(mod, trials=1000, progress=progress, **options)
    records = list(valid_records(open_database(folder)))
    (spec,) = {spec for spec, _, _ in records}
    space = schedules.space_of(spec, isa_of(resolve_target("host")))
    everything = np.prod([len(choices) for choices in space.values()])
    assert len(records) == everything
    trials, failed = states[-1]
    assert failed == 4
    assert trials == everything + failed
    # The default failed at first; the next batch began with it.
    assert best.default_seconds == 1.0 + 5


def test_the_best_has_won_its_duel_or_is_the_default(tuned):
    from tvm_c4n.tuning.duels import Duel

    folder, _ = tuned
    (best,) = open_records(folder).best
    assert best.seconds <= best.default_seconds
    file = folder / CONFIRMATIONS  # none where no candidate was faster the first time
    found = json.loads(file.read_text())["duels"] if file.is_file() else []
    duels = [Duel(**duel) for duel in found]
    won = [duel.decisions for duel in duels if duel.won]
    assert all(duel.complete for duel in duels)
    if won:
        assert won == [best.decisions]
    else:
        assert best.seconds == best.default_seconds


def test_compiling_takes_the_records(tuned, tmp_path):
    """Whatever is recorded is built, and computes the same."""
    folder, _ = tuned
    copy = tmp_path / "records"
    copy.mkdir()
    content = json.loads((folder / BEST).read_text())
    content["kernels"][0]["decisions"] = {"tiles": 1, "ahead": 2048}
    (copy / BEST).write_text(json.dumps(content))
    (copy / MANIFEST).write_bytes((folder / MANIFEST).read_bytes())
    mod, weight = sparse_layer()
    executable = build(mod, records=copy, debug_dump=tmp_path / "dump")
    bound = next((tmp_path / "dump").glob("*_bind.py"))
    assert "c4n_gemv[tiles=1, ahead=2048]" in bound.read_text()
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    found = relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, x @ weight.T, rtol=1e-5, atol=1e-6)


def test_decisions_of_another_version_are_left_alone(tuned, tmp_path):
    (best,) = open_records(tuned[0]).best
    spec_class = next(s for s in schedules_specs() if s.kind == best.spec["kind"])
    spec = spec_class(**{k: v for k, v in best.spec.items() if k != "kind"})
    isa = isa_of(resolve_target("host"))
    for answer in ({"tiles": 3, "ahead": 0}, {"tiles": 1}, {"tiles": 1, "ahead": 0, "colour": 1}):
        assert schedules.choose(spec, isa, lambda _, a=answer: a)[0] == "c4n_gemv"


def schedules_specs():
    from tvm_c4n.ops.spec import SPECS

    return SPECS


def test_merging_adds_what_is_new(tuned, tmp_path):
    from tvm_c4n.tuning.database import merge_folders, open_database, valid_records

    folder, _ = tuned
    count = len(list(valid_records(open_database(folder))))
    assert merge_folders(tmp_path / "all", [folder]) == count
    assert merge_folders(tmp_path / "all", [folder]) == 0
    assert open_records(tmp_path / "all").best == open_records(folder).best


def test_records_of_another_machine_are_refused(tuned, tmp_path):
    folder, _ = tuned
    mod, _ = sparse_layer()
    with pytest.raises(TuneError, match=r"has records of triple .*give another folder"):
        build(mod, "arm64-linux", records=folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, value in (("cpu", "6502"), ("tvm", "0.1"), ("features", ["sse"]), ("isa", "mmx")):
        other = tmp_path / name
        other.mkdir()
        changed = {**manifest, "target": {**manifest["target"], name: value}}
        (other / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(TuneError, match=f"has records of {name} "):
            open_records(other, resolve_target("host"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "valid dictionary"),
        ('{"format": 2}', "format"),
        ('{"format": 1, "threads": 0, "emulated": false}', "target"),
    ],
)
def test_damaged_manifests_are_one_line(tmp_path, text, message):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(TuneError, match=message) as caught:
        open_records(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_the_command_line_refuses(call, tmp_path):
    start = ["tune", "mamba-19m", "--records", tmp_path / "r"]
    assert "either --local, or --tracker" in call(*start).err
    assert (
        "--local measures on this machine" in call(*start, "--local", "--target", "arm64-linux").err
    )
    assert "'tvm-c4n tune' makes folders" in call("records", tmp_path / "none").err


def test_compiling_says_what_is_tuned_and_the_text_stays(call, pruned, artifact, tmp_path):
    """Records with other decisions than the default's, for every task of a model."""
    from tvm_c4n.compile.records import Best, RecordsManifest, key_of, write_best, write_manifest
    from tvm_c4n.tuning.tasks import tasks_of

    target, folder = resolve_target("host"), tmp_path / "records"
    machine = machine_of(target)
    write_manifest(folder, RecordsManifest(target=machine, threads=1, emulated=False))
    tasks = tasks_of(pruned, target)
    assert {"linear", "selective_scan", "conv1d"} == {task.spec.kind for task in tasks}
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
    out = tmp_path / "tuned.art"
    result = call("compile", pruned, "-o", out, "--records", folder)
    assert result.code == 0, result.err
    tuned = [rule for rule in open_artifact(out).manifest.schedules.values() if "[" in rule]
    assert f"kernels: {len(tuned)} tuned, " in result.out
    for part in ("c4n_gemv[", "c4n_gemm[", "selective_scan[", "conv1d["):
        assert any(rule.startswith(part) for rule in tuned)
    text = ["--prompt", "w3 w14 w15", "-n", 20]
    assert call("run", out, *text).out == call("run", artifact, *text).out


def test_what_the_package_ships_is_taken_on_its_machine_alone(call, pruned, tmp_path, monkeypatch):
    from tvm_c4n.compile import records as store
    from tvm_c4n.tuning.tasks import tasks_of

    target, shipped = resolve_target("host"), tmp_path / "shipped"
    machine = machine_of(target)
    task = next(t for t in tasks_of(pruned, target) if t.spec.kind == "selective_scan")
    decisions = {name: choices[-1] for name, choices in task.space.items()}
    key = store.key_of(task.spec)
    best = store.Best(spec=key, decisions=decisions, seconds=1, default_seconds=2)
    for folder, cpu, emulated in (("here", machine.cpu, False), ("a", "6502", False)):
        about = machine.model_copy(update={"cpu": cpu})
        manifest = store.RecordsManifest(target=about, threads=1, emulated=emulated)
        store.write_manifest(shipped / folder, manifest)
        store.write_best(shipped / folder, [best])
    monkeypatch.setattr(store, "SHIPPED", shipped)
    assert "kernels: 1 tuned, " in call("compile", pruned, "-o", tmp_path / "one.art").out
    for file in (shipped / "here").iterdir():
        file.unlink()
    (shipped / "here").rmdir()
    assert "kernels: 0 tuned, " in call("compile", pruned, "-o", tmp_path / "none.art").out


def test_the_command_line_lists_and_exports(call, tuned, tmp_path):
    folder, _ = tuned
    result = call("records", folder)
    assert machine_of(resolve_target("host")).cpu in result.out
    assert "step 256x64 n=2 float32" in result.out
    call("records", folder, "--export", tmp_path / "out")
    expected = {BEST, MANIFEST} | ({CONFIRMATIONS} & {p.name for p in folder.iterdir()})
    assert {p.name for p in (tmp_path / "out").iterdir()} == expected
    assert open_records(tmp_path / "out").best == open_records(folder).best
