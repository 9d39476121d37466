"""Hugging Face folders as other programs write them."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tvm_c4n import assets
from tvm_c4n.checkpoint import HfCheckpoint, export_dense, open_checkpoint
from tvm_c4n.errors import CheckpointError


def folder(path: Path, config: dict[str, object] | None = None) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config or {"model_type": "mamba"}))
    return path


def test_the_embedded_model_by_name_reads_as_safetensors_reads_it() -> None:
    checkpoint = open_checkpoint("mamba-19m")
    expected = load_file(assets.ROOT / "mamba-19m/model.safetensors")
    assert checkpoint.names() == sorted(expected)
    for name, array in expected.items():
        assert checkpoint.shape(name) == array.shape
        assert checkpoint.weight(name) is None
        dense = checkpoint.dense(name)
        assert dense.dtype == np.float32
        np.testing.assert_array_equal(dense, array.astype(np.float32))
    assert [path.name for path in checkpoint.extra_files()] == [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_float_dtype_becomes_float32(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
    values[0, :3] = [np.nan, np.inf, -0.0]
    save_file({"w": values, "empty": values[:0]}, folder(tmp_path) / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(checkpoint.dense("w"), values.astype(np.float32))
    assert checkpoint.dense("empty").shape == (0, 7)


def test_shards(tmp_path: Path) -> None:
    folder(tmp_path)
    save_file({"a": np.ones(2, np.float16)}, tmp_path / "model-1.safetensors")
    save_file({"b": np.zeros((3, 1), np.float32)}, tmp_path / "model-2.safetensors")
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.names() == ["a", "b"]
    assert checkpoint.shape("b") == (3, 1)
    assert checkpoint.dense("a").tolist() == [1, 1]


def test_early_name_of_the_embeddings(tmp_path: Path) -> None:
    values = np.ones((2, 2), np.float32)
    save_file({"backbone.embedding.weight": values}, folder(tmp_path) / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.names() == ["backbone.embeddings.weight"]
    assert checkpoint.dense("backbone.embeddings.weight").sum() == 4


def test_the_cache_of_the_hub_is_full_of_links(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.parent.mkdir()
    source = HfCheckpoint(assets.ROOT / "mamba-19m")
    snapshot.mkdir()
    for number, path in enumerate(sorted(source.path.iterdir())):
        (blobs / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    checkpoint = open_checkpoint(snapshot)
    assert len(checkpoint.names()) == 162
    assert len(checkpoint.extra_files()) == 3


def test_reading_is_lazy(tmp_path: Path) -> None:
    """Opening reads the header only: a tensor that vanishes later is an error when it is read."""
    path = folder(tmp_path) / "model.safetensors"
    save_file({"a": np.ones(4096, np.float32)}, path)
    checkpoint = open_checkpoint(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated while tensor 'a'"):
        checkpoint.dense("a")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot read"):
        checkpoint.dense("a")


def test_names_that_are_not_there() -> None:
    checkpoint = open_checkpoint("mamba-19m")
    for read in (checkpoint.dense, checkpoint.shape, checkpoint.weight):
        with pytest.raises(CheckpointError, match=r"tensor 'lm_head\.weight' is missing"):
            read("lm_head.weight")


def test_an_export_of_an_export_is_the_same(tmp_path: Path) -> None:
    export_dense(open_checkpoint("mamba-19m"), tmp_path / "a")
    export_dense(open_checkpoint(tmp_path / "a"), tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
