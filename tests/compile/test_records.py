"""The folder of records: its files, the machine that they count for, and who may read them."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from tests.layers import sparse_layer
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.compile import records as store
from tvm_c4n.compile.build import build
from tvm_c4n.compile.records import (
    BEST,
    MANIFEST,
    Best,
    RecordsManifest,
    key_of,
    machine_of,
    open_records,
    title_of,
    write_best,
    write_manifest,
)
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec, LinearSpec, SsdSpec

HOST = resolve_target("host")
SPEC = LinearSpec(False, 256, 64, 2, "float32", 0, isa_of(HOST).lanes, 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of this machine, with decisions for one kernel."""
    out = tmp_path / "records"
    write_manifest(out, RecordsManifest(target=machine_of(HOST), threads=1, emulated=False))
    decisions = {"panels": 1, "prefetch_distance": 2048}
    write_best(out, [Best(spec=key_of(SPEC), decisions=decisions, seconds=1, default_seconds=2)])
    return out


def test_former_names_of_decisions_are_read(folder: Path) -> None:
    file = folder / BEST
    now = open_records(folder).best
    text = file.read_text().replace('"panels"', '"tiles"').replace('"prefetch_distance"', '"ahead"')
    assert text != file.read_text()
    file.write_text(text)
    assert open_records(folder).best == now


def test_compiling_takes_the_records(folder: Path, tmp_path: Path) -> None:
    """What is recorded is built, and computes the same."""
    mod, weight = sparse_layer(256, 64)
    executable = build(mod, records=folder, debug_dump=tmp_path / "dump")
    bound = next((tmp_path / "dump").glob("*_bind.py"))
    assert "c4n_gemv[panels=1, prefetch_distance=2048]" in bound.read_text()
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    found = relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, x @ weight.T, rtol=1e-5, atol=1e-6)


def test_records_of_another_machine_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match=r"has records of triple .*give another folder"):
        build(sparse_layer(256, 64)[0], "arm64-linux", records=folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, value in (("cpu", "6502"), ("tvm", "0.1"), ("features", ["sse"]), ("isa", "mmx")):
        other = tmp_path / name
        other.mkdir()
        changed = {**manifest, "target": {**manifest["target"], name: value}}
        (other / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(TuneError, match=f"has records of {name} "):
            open_records(other, HOST)


def test_processors_of_one_name_have_their_own_records(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three Zens call themselves AMD EPYC; records of before do not say which one they are of."""
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    assert store.shipped_for(HOST) == open_records(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["target"]["model"]

    def renamed(name: str, model: str | None) -> Path:
        target = {k: v for k, v in manifest["target"].items() if k != "model"}
        if model is not None:
            target["model"] = model
        (tmp_path / name).mkdir()
        file = tmp_path / name / MANIFEST
        file.write_text(json.dumps({**manifest, "format": 1 + bool(model), "target": target}))
        return tmp_path / name

    before = renamed("before", None)
    assert open_records(before, HOST).manifest.target.model == ""
    write_manifest(before, RecordsManifest(target=machine_of(HOST), threads=1, emulated=False))
    other = renamed("another", "family 261 model 0 stepping 0")
    with pytest.raises(TuneError, match="has records of model 'family 261 model 0 stepping 0'"):
        open_records(other, HOST)
    assert store.shipped_for(HOST) == open_records(folder)
    (folder / MANIFEST).unlink()
    (folder / BEST).unlink()
    folder.rmdir()
    assert store.shipped_for(HOST) == open_records(before)


@pytest.mark.parametrize(("threads", "emulated"), [(2, False), (1, True)])
def test_a_folder_is_of_one_way_of_measuring(folder: Path, threads: int, emulated: bool) -> None:
    manifest = RecordsManifest(target=machine_of(HOST), threads=threads, emulated=emulated)
    with pytest.raises(TuneError, match="has records of 1 threads: give another folder"):
        write_manifest(folder, manifest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": 3}', "format"),
        ('{"format": 1, "threads": 0, "emulated": false}', "target"),
    ],
)
def test_damaged_manifests_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(TuneError, match=message) as caught:
        open_records(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["kind", "dynamic", "cols", "dtype"])
def test_a_kernel_without_what_names_it_is_refused(field: str) -> None:
    spec = {"kind": "linear", "dynamic": False, "rows": 8, "cols": 4, "removed": 2, "dtype": "int4"}
    whole = {"decisions": {}, "seconds": 1.0, "default_seconds": 1.0}
    assert title_of(Best(spec=spec, **whole).spec) == "step 8x4 n=2 int4"
    del spec[field]
    with pytest.raises(ValueError, match=f"{field} is missing"):
        Best(spec=spec, **whole)


def test_titles_name_a_kernel_by_its_sizes() -> None:
    assert title_of(key_of(SPEC)) == "step 256x64 n=2 float32"
    assert title_of(key_of(ConvSpec(True, 768, 4, 2, 1536))) == "prefill conv1d 768x4"
    assert title_of(key_of(SsdSpec(True, 24, 64, 128, 2))) == "prefill ssd_scan 24x64x128"


def test_records_count_for_operators_that_got_a_field_since(tmp_path: Path) -> None:
    write_manifest(tmp_path, RecordsManifest(target=machine_of(HOST), threads=1, emulated=False))
    spec = key_of(ConvSpec(True, 768, 4, 2, 1536))
    del spec["first"]
    write_best(tmp_path, [Best(spec=spec, decisions={"vectors": 2}, seconds=1, default_seconds=2)])
    tuned = open_records(tmp_path).tuned()
    assert tuned(ConvSpec(True, 768, 4, 2, 1536)) == {"vectors": 2}
    assert tuned(ConvSpec(True, 768, 4, 2, 1536, first=768)) is None


def test_limits_of_delta_come_back_from_records(tmp_path: Path) -> None:
    write_manifest(tmp_path, RecordsManifest(target=machine_of(HOST), threads=1, emulated=False))
    spec, decisions = SsdSpec(True, 4, 32, 16, 2, low=0.001), {"tokens": 4, "vectors": 1}
    best = Best(spec=key_of(spec), decisions=decisions, seconds=1, default_seconds=2)
    write_best(tmp_path, [best])
    assert open_records(tmp_path).tuned()(spec) == decisions


def _write_often(folder: Path) -> None:
    for _ in range(200):
        write_best(folder, [])


def test_writers_of_one_folder_do_not_collide(tmp_path: Path) -> None:
    """Two of them once wrote to one temporary file, and one then found it gone."""
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write_often, args=(tmp_path,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == [BEST]
