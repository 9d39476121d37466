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


@pytest.mark.parametrize("damage", ["cut", "name", "shape"])
def test_damage_is_one_line(tmp_path, damage):
    path = state_path(tmp_path / "out")
    save_state(path, tensors(1.0), 10, "run")
    wanted = tensors(0.0)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "name":
        wanted["c"] = torch.zeros(1)
    else:
        wanted["a"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match=r"damaged .*; remove it to start anew"):
        load_state(path, wanted, "run")
