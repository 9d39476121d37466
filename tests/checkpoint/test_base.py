"""Checkpoints in memory, and what a folder may be and hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint.base import (
    EXTRA_FILES,
    ArrayCheckpoint,
    check_folder,
    find_extra_files,
    read_config,
)
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import FAMILIES
from tvm_c4n.sparsity import from_dense


def test_a_checkpoint_in_memory_gives_what_it_was_given() -> None:
    weight = from_dense(np.eye(4), 3, "int8")
    checkpoint = ArrayCheckpoint({"model_type": "mamba"}, {"w": weight, "v": np.ones(3)})
    assert checkpoint.names() == ["v", "w"]
    assert checkpoint.config == {"model_type": "mamba"}
    assert (checkpoint.shape("w"), checkpoint.shape("v")) == ((4, 4), (3,))
    assert checkpoint.weight("w") is weight
    assert checkpoint.weight("v") is None
    np.testing.assert_array_equal(checkpoint.dense("w"), weight.dense())
    assert checkpoint.dense("v").dtype == np.float32
    assert checkpoint.extra_files() == []
    with pytest.raises(CheckpointError, match="tensor 'x' is missing"):
        checkpoint.dense("x")


def test_a_path_that_is_no_folder_says_how_to_get_one(tmp_path: Path) -> None:
    check_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"no such folder; .*hf download"):
        check_folder(tmp_path / "missing")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, f"has no model_type, supported: {', '.join(FAMILIES)}$"),
        ({"ssm_cfg": {}}, "convert it with `tvm-c4n convert"),
        (
            {"model_type": "llama"},
            f"model_type 'llama' is not supported, only: {', '.join(FAMILIES)}$",
        ),
    ],
)
def test_other_architectures_are_refused(
    tmp_path: Path, config: dict[str, object], message: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path)


def test_extra_files_are_those_of_the_list_that_are_there(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "LICENSE", "modeling_x.py", "model.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "NOTICE").mkdir()
    found = [path.name for path in find_extra_files(tmp_path)]
    assert found == ["tokenizer.json", "LICENSE"]
    assert set(found) < set(EXTRA_FILES)
