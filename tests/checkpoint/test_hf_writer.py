"""A Hugging Face folder from bytes: shards, their index, and the files beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.hf_writer import write_hf_folder
from tvm_c4n.errors import CheckpointError

CONFIG = {"model_type": "mamba"}
VALUES = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(8, dtype=np.float16),
    "c": np.ones((), np.float32),
}
TENSORS = {"a": ("F32", (2, 3)), "b": ("F16", (8,)), "c": ("F32", ())}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("free")
    for limit, count in ((1000, 1), (30, 2), (1, 3)):
        out = tmp_path / str(limit)
        write_hf_folder(
            out,
            TENSORS,
            lambda name: [VALUES[name].tobytes()],
            CONFIG,
            [tmp_path / "LICENSE"],
            shard_bytes=limit,
        )
        files = list(out.glob("*.safetensors"))
        assert len(files) == count
        found = {name: values for file in files for name, values in load_file(file).items()}
        assert found.keys() == VALUES.keys()
        for name, values in VALUES.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)
        opened = open_checkpoint(out)
        assert (opened.config, opened.names()) == (CONFIG, ["a", "b", "c"])
        assert [path.name for path in opened.extra_files()] == ["LICENSE"]


def test_what_goes_wrong_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tensor a has data of another length"):
        write_hf_folder(tmp_path / "out", TENSORS, lambda name: [b""], CONFIG, [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    with pytest.raises(CheckpointError, match="holds something else"):
        write_hf_folder(tmp_path / "mine", TENSORS, lambda name: [], CONFIG, [], overwrite=True)
