"""States: read back as they were written, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint.state_file import read_state, write_state
from tvm_c4n.errors import CheckpointError

ARRAYS = {
    "float": np.array([[1.5, -2.0]], np.float32),
    "half": np.array(0.5, np.float16),
    "order": np.array([2, 0, 1], np.int64),
    "mask": np.array([True, False]),
    "codes": np.array([-7, 7], np.int8),
    "bits": np.array([0xE4], np.uint8),
    "none": np.empty((0, 4), np.float32),
}
NOTES = {"step": "12", "run": "a"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    write_state(path, ARRAYS, NOTES)
    return path


def test_a_state_comes_back(path: Path) -> None:
    arrays, notes = read_state(path, "remove it")
    assert notes == NOTES
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)
    assert list(path.parent.iterdir()) == [path]


def test_every_flipped_bit_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"state\.safetensors.*; remove it$"):
            read_state(path, "remove it")


def test_a_dtype_that_no_state_has_is_refused(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    said = "state.safetensors: damaged: not what was written there; remove it$"
    with pytest.raises(CheckpointError, match=said):
        read_state(path, "remove it")
