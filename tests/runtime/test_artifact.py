"""Artifact folders: what is read of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import HF
from tvm_c4n.errors import ArtifactError
from tvm_c4n.model.families import describe_model
from tvm_c4n.runtime.artifact import (
    MANIFEST,
    WEIGHTS,
    is_artifact,
    open_artifact,
    sha256_of,
)
from tvm_c4n.runtime.manifest import ALIGN, library_name

CONFIG = describe_model(HF)
ARRAYS = [
    np.arange(1023, dtype=np.float32).reshape(33, 31),
    np.array([[-1], [127]], np.int8),
    np.arange(5, dtype=np.uint16),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact with three tensors and a library of a few bytes."""
    data, tensors = b"", []
    for array in ARRAYS:
        data += bytes(-len(data) % ALIGN)
        tensors.append({"dtype": str(array.dtype), "shape": array.shape, "offset": len(data)})
        data += array.tobytes()
    (tmp_path / WEIGHTS).write_bytes(data)
    (tmp_path / "code").write_bytes(b"code")
    digest = sha256_of(tmp_path / "code")
    (tmp_path / "code").rename(tmp_path / library_name(digest))
    manifest = {
        "format": 1,
        "target": "host",
        "triple": "x86_64-linux-gnu",
        "isa": "avx2",
        "features": ["avx2"],
        "tvm": "0.27.0",
        "config": HF,
        "projections": {
            name: {"rows": rows, "cols": cols, "removed": 0, "dtype": "int8", "scale_group": 32}
            for name in CONFIG.weights()
            for rows, cols in [CONFIG.tensor_shapes()[name]]
        },
        "schedules": {},
        "tensors": tensors,
        "states": CONFIG.state_shapes(),
        "chunk": 256,
        "weight_bytes": sum(array.nbytes for array in ARRAYS),
        "library_sha256": digest,
        "weights_sha256": sha256_of(tmp_path / WEIGHTS),
    }
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def change(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))


def test_weights_are_those_that_were_written(folder: Path) -> None:
    artifact = open_artifact(folder)
    artifact.verify()
    for found, expected in zip(artifact.weights(), ARRAYS, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        assert found.ctypes.data % ALIGN == 0
    assert artifact.manifest.library == next(folder.glob("model-*.so")).name


def test_writing_to_weights_leaves_the_file(folder: Path) -> None:
    artifact = open_artifact(folder)
    artifact.weights()[0][...] = 7
    artifact.verify()
    np.testing.assert_array_equal(artifact.weights()[0], ARRAYS[0])


@pytest.mark.parametrize("name", ["weights", "library"])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    artifact = open_artifact(folder)
    file = folder / (WEIGHTS if name == "weights" else artifact.manifest.library)
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{file.name} is not the file that was compiled"):
        artifact.verify()
    if name == "weights":
        artifact.verify(code_only=True)
    file.unlink()
    with pytest.raises(ArtifactError, match=file.name):
        artifact.verify()


@pytest.mark.parametrize("size", [0, 1, -1])
def test_weights_of_another_size_say_so(folder: Path, size: int) -> None:
    artifact = open_artifact(folder)
    data = (folder / WEIGHTS).read_bytes()
    changed = data + b"x" if size == 1 else data[:size]
    (folder / WEIGHTS).write_bytes(changed)
    said = f"has {len(changed)} bytes, its tensors have {len(data)}; compile the model again"
    with pytest.raises(ArtifactError, match=said):
        artifact.weights()
    with pytest.raises(ArtifactError, match=said):
        artifact.verify(code_only=True)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match="missing file; compile the model again"):
        artifact.weights()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"format": "1\n2"}, r"has format '1\\n2', this version"),
        ({"chunk": 0}, "chunk: "),
        ({"extra": 1}, "extra: "),
        ({"library_sha256": "../x"}, "library_sha256: "),
        ({"tensors": [{"dtype": "object", "shape": [1], "offset": 0}]}, r"tensors\.0\.dtype"),
        ({"tensors": [{"dtype": "int8", "shape": [1], "offset": 7}]}, r"tensors\.0\.offset"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    change(folder, **changes)
    with pytest.raises(ArtifactError, match=message) as caught:
        open_artifact(folder)
    assert "\n" not in str(caught.value)


def test_folders_that_are_none_are_told_apart(folder: Path, small_model: Path) -> None:
    assert is_artifact(folder)
    assert not is_artifact(small_model)
    with pytest.raises(ArtifactError, match="is no compiled model: make one with"):
        open_artifact(small_model)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ArtifactError, match="not valid JSON"):
        open_artifact(folder)
