"""Weights of both kinds of files; a pickle of anything else is refused and runs nothing."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.frontend.original.weights import read_weights

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def whole(pieces: Any) -> bytes:
    return b"".join(bytes(piece) for piece in pieces())


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_bytes_dtypes_and_shapes(suffix: str, tmp_path: Path) -> None:
    tensors = {str(d): torch.arange(12).reshape(3, 4).to(d) for d in DTYPES}
    tensors |= {"scalar": torch.tensor(2.0), "none": torch.zeros(0, 3)}
    path = tmp_path / f"weights{suffix}"
    torch.save(tensors, path) if suffix == ".bin" else save_file(tensors, path)
    found = read_weights(path)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].shape == tuple(tensor.shape)
        expected = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert whole(found[name].pieces) == expected
    assert [found[str(d)].dtype for d in DTYPES] == ["F32", "F16", "BF16"]


def test_views_are_written_out(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    torch.save({"t": base.T, "rows": base[1:]}, tmp_path / "w.bin")
    found = read_weights(tmp_path / "w.bin")
    np.testing.assert_array_equal(
        np.frombuffer(whole(found["t"].pieces), np.float32).reshape(4, 3), base.T.numpy()
    )
    assert whole(found["rows"].pieces) == base[1:].numpy().tobytes()


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (EVIL,)


EVIL = "made-by-a-pickle"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": Evil()}, r"w.bin: holds something else than weights \(UnpicklingError\)"),
        ([torch.ones(2)], "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"model": {"w": torch.ones(2)}}, "'model' is no tensor of a model"),
        ({3: torch.ones(2)}, "3 is no tensor of a model"),
        ({"w": torch.ones(1).expand(10**9)}, "'w' is no tensor of a model"),
        ({"w": torch.eye(3).to_sparse()}, "'w' is no tensor of a model|something else"),
        ({"w": torch.ones(2, dtype=torch.int64)}, "tensor 'w' has dtype int64, supported: F32"),
        (collections.Counter("abc"), "holds something else than weights|no tensor"),
    ],
)
def test_a_pickle_of_other_things_is_refused(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "w.bin")
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "w.bin")
    assert not (tmp_path / EVIL).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"w": 1}), "not what torch.save writes; .* torch before 1.6"),
        (b"PK\x03\x04 and no more", "not what torch.save writes"),
        (b"", "not what torch.save writes"),
        (b"<!doctype html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_other_files_in_its_place_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "w.bin")
    with pytest.raises(CheckpointError, match="missing file"):
        read_weights(tmp_path / "none.bin")


def test_archives_that_grow_when_they_are_read_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.bin")
    with zipfile.ZipFile(tmp_path / "w.bin") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "small.bin", "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in parts.items():
            target.writestr(name, data)
    with pytest.raises(CheckpointError, match=r"small.bin: not what torch.save writes"):
        read_weights(tmp_path / "small.bin")
    with zipfile.ZipFile(tmp_path / "large.bin", "w") as target:
        for name, data in parts.items():
            target.writestr(name, data + b" " * (1 << 23) * name.endswith("data.pkl"))
    with pytest.raises(CheckpointError, match=r"large.bin: not what torch.save writes"):
        read_weights(tmp_path / "large.bin")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.bin")
    data = (tmp_path / "w.bin").read_bytes()
    for length in range(0, len(data), 311):
        (tmp_path / "cut.bin").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / "cut.bin")


def test_only_pickles_need_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    torch.save({"w": torch.ones(2)}, tmp_path / "w.bin")
    monkeypatch.setattr("tvm_c4n.extras.find_spec", lambda name: None)
    assert whole(read_weights(tmp_path / "w.safetensors")["w"].pieces)
    with pytest.raises(C4nError, match=r"reading w.bin needs torch and scipy: pip install"):
        read_weights(tmp_path / "w.bin")
