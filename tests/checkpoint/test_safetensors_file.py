"""The safetensors reader and writer against the safetensors package.

Hostile files are in `tests/attacks`.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tvm_c4n.checkpoint.safetensors_file import (
    DTYPE_BYTES,
    SafetensorsFile,
    little_endian,
    storage_order,
    write_safetensors,
)
from tvm_c4n.errors import CheckpointError

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([[1.5], [-2]], np.float16),
    "c": np.array([-1, 0, 127], np.int8),
    "d": np.array([[255, 0]], np.uint8),
    "e": np.zeros((0, 4), np.float16),
}
NAMES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    tensors = {name: (NAMES[str(a.dtype)], a.shape) for name, a in arrays.items()}
    write_safetensors(path, tensors, lambda name: [little_endian(arrays[name])], {"k": "v"})


def test_the_package_reads_what_is_written(tmp_path: Path) -> None:
    write(tmp_path / "m", ARRAYS)
    found = load_file(tmp_path / "m")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_the_package_writes_is_read(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "m")
    file = SafetensorsFile(tmp_path / "m")
    assert file.entries.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert file.entry(name).shape == array.shape
        np.testing.assert_array_equal(file.read(name), array)


def test_bytes_do_not_depend_on_the_order_of_the_tensors(tmp_path: Path) -> None:
    write(tmp_path / "a", ARRAYS)
    write(tmp_path / "b", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_wider_dtypes_come_first_so_that_all_are_aligned(tmp_path: Path) -> None:
    write(tmp_path / "m", ARRAYS)
    file = SafetensorsFile(tmp_path / "m")
    tensors = {name: (entry.dtype, entry.shape) for name, entry in file.entries.items()}
    assert storage_order(tensors) == ["b", "a", "e", "c", "d"]
    for entry in file.entries.values():
        assert entry.begin % DTYPE_BYTES[entry.dtype] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("piece", [1, 10, 1 << 20])
def test_floats_are_widened_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, piece: int
) -> None:
    monkeypatch.setattr("tvm_c4n.checkpoint.safetensors_file._PIECE", piece)
    values = np.random.default_rng(0).standard_normal((3, 11)).astype(dtype)
    values[0, :3] = [np.nan, np.inf, -0.0]
    save_file({"w": values}, tmp_path / "m")
    found = SafetensorsFile(tmp_path / "m").read_float32("w")
    expected = values.astype(np.float32)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_data_of_another_length_is_an_error(tmp_path: Path) -> None:
    for data in (b"1234567", b"123456789"):
        with pytest.raises(CheckpointError, match="tensor w has data of another length"):
            write_safetensors(tmp_path / "m", {"w": ("F32", (2,))}, lambda _, d=data: [d], {})


def test_a_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "m", ARRAYS)
    file = SafetensorsFile(tmp_path / "m", "ask again")
    for read in (file.entry, file.read, file.read_float32):
        with pytest.raises(CheckpointError, match=r"m: tensor 'x' is missing; ask again"):
            read("x")


def test_a_file_that_shrinks_after_opening_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "m", ARRAYS)
    file = SafetensorsFile(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match="truncated while tensor 'd' was read"):
        file.read("d")


def test_other_byte_orders_and_strides_are_written_little_endian() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    expected = np.ascontiguousarray(array).astype("<f4").tobytes()
    assert bytes(little_endian(array)) == expected
