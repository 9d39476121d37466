"""Models of the benchmarks: by size and format, and compiled anew when the compiler changes."""

import pytest

from benchmarks import models
from benchmarks.models import artifact, compiler_digest, model_folder, state_bytes
from benchmarks.random_models import Format, config_of
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import C4nError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.states import StateDTypes


def test_the_real_model_is_the_bundled_one_where_there_is_one():
    assert model_folder("mamba-19m", Format("float16", 0)) == "mamba-19m"
    assert model_folder("mamba-19m", Format("int4", 3)) == "mamba-19m-n3-int4"


@pytest.mark.slow  # measures what each weight loses, and prunes
def test_the_real_model_is_pruned_to_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "CACHE", tmp_path)
    source = open_checkpoint(model_folder("mamba-19m-9.5MB", Format("int4", 0)))
    dtypes = {weight.dtype for name in source.names() if (weight := source.weight(name))}
    assert {"int3", "int4"} <= dtypes
    stored = sum(file.stat().st_size for file in source.path.glob("*.safetensors"))
    assert 9.3e6 < stored < 9.5e6 + 50_000, "headers are not counted"


def test_an_unknown_size_is_refused_with_those_that_there_are():
    with pytest.raises(C4nError, match=r"size is '7b'; known are mamba-19m, 1.4b, 130m"):
        model_folder("7b", Format("int4", 2))


def test_a_model_is_compiled_again_only_when_the_compiler_changed(tmp_path, monkeypatch):
    compiled = []

    def compile_model(model, folder, target, *, scan_dtype, overwrite):
        compiled.append(model)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / models.MANIFEST).write_text("{}")

    monkeypatch.setattr("tvm_c4n.compile.artifact.compile_model", compile_model)
    monkeypatch.setattr(models, "CACHE", tmp_path / "build" / "bench")
    for package in ("schedules", "relay_passes"):
        (tmp_path / package).mkdir()
    (tmp_path / "schedules" / "kernel.py").write_text("1")
    before = compiler_digest()
    fmt = Format("float16", 0)
    assert artifact("mamba-19m", fmt) == artifact("mamba-19m", fmt)
    assert compiled == ["mamba-19m"]
    (tmp_path / "schedules" / "kernel.py").write_text("2")
    assert compiler_digest() != before
    artifact("mamba-19m", fmt)
    assert compiled == ["mamba-19m"] * 2


def test_a_token_moves_its_states_twice_and_the_keys_so_far_once():
    config = describe_model(config_of("falcon-h1-0.5b"))
    scan, conv = 24 * 64 * 128, 3 * (24 * 64 + 2 * 128)
    ring = 2 * 2 * 64 * (63 + 1) // 2
    assert state_bytes(config, 63) == 36 * 4 * (2 * (scan + conv) + ring)
    half = config.with_state_dtypes(StateDTypes("float16", "float16"))
    assert state_bytes(half, 63) == 36 * 2 * (2 * (scan + 2 * conv) + ring)
