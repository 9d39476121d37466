"""The state of an unfinished healing: read back by the run that wrote it, by no other."""

import pytest
import torch

from tvm_c4n.errors import CheckpointError
from tvm_c4n.healing.state import load_state, save_state, state_path


def tensors(value):
    return {"a": torch.full((2, 3), value), "b:step": torch.tensor(value)}


def test_a_state_lies_beside_its_folder(tmp_path):
    assert state_path(tmp_path / "out") == tmp_path / "out.healing.safetensors"


def test_a_state_comes_back_in_place(tmp_path):
    path = state_path(tmp_path / "new" / "out")
    assert load_state(path, tensors(0.0), "run") == 0
    save_state(path, tensors(1.0), 10, "run")
    save_state(path, tensors(2.0), 20, "run")
    found = tensors(0.0)
    before = found["a"]
    assert load_state(path, found, "run") == 20
    assert found["a"] is before
    for name, expected in tensors(2.0).items():
        torch.testing.assert_close(found[name], expected)
    assert list(path.parent.iterdir()) == [path]


def test_another_run_is_refused(tmp_path):
    path = state_path(tmp_path / "out")
    save_state(path, tensors(1.0), 10, "run")
    with pytest.raises(CheckpointError, match="belongs to a healing with another model"):
        load_state(path, tensors(0.0), "another")


@pytest.mark.parametrize("other", [{"c": torch.zeros(1)}, {"a": torch.zeros(1, 3)}])
def test_tensors_of_another_run_are_refused(tmp_path, other):
    """torch would broadcast one row to two."""
    path = state_path(tmp_path / "out")
    save_state(path, {**tensors(1.0), **other}, 10, "run")
    with pytest.raises(CheckpointError, match="belongs to a healing with another model"):
        load_state(path, tensors(0.0), "run")


def test_damage_is_one_line(tmp_path):
    path = state_path(tmp_path / "out")
    save_state(path, tensors(1.0), 10, "run")
    path.write_bytes(path.read_bytes()[:-1])
    said = r"out.healing.safetensors: truncated, .*; remove it to start anew$"
    with pytest.raises(CheckpointError, match=said):
        load_state(path, tensors(0.0), "run")


def test_a_link_to_nothing_is_no_start_anew(tmp_path):
    path = state_path(tmp_path / "out")
    path.symlink_to("gone")
    with pytest.raises(CheckpointError, match="missing file; remove it to start anew"):
        load_state(path, tensors(0.0), "run")
