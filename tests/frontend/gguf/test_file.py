"""What is no whole GGUF file is one line; tensors are read as they are stored."""

import struct

import gguf
import numpy as np
import pytest

from tvm_c4n.errors import CheckpointError
from tvm_c4n.frontend.gguf.file import GgufFile

TENSOR = np.arange(64, dtype=np.float32).reshape(2, 32)


@pytest.fixture
def path(tmp_path):
    """A file with keys of every kind and two tensors."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_bool("yes", True)
    writer.add_float32("half", 0.5)
    writer.add_uint64("large", 1 << 40)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("words", ["a", "ö", ""])
    writer.add_tensor("one", TENSOR)
    writer.add_tensor("two", TENSOR.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "m.gguf"


def refused(path, message, data=None):
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        GgufFile(path)
    assert str(caught.value).startswith(str(path))


def test_keys_and_tensors_are_read(path):
    file = GgufFile(path)
    wanted = {"yes": True, "half": 0.5, "large": 1 << 40, "numbers": [1, 2, 3]}
    assert file.values == wanted | {"general.architecture": "mamba", "words": ["a", "ö", ""]}
    np.testing.assert_array_equal(file.read("one"), TENSOR)
    np.testing.assert_array_equal(file.read("two"), TENSOR.astype(np.float16))
    assert file.tensors["two"].shape == (2, 32)


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        refused(path, "truncated|GGUF", data[:size])


@pytest.mark.parametrize(
    ("at", "number", "message"),
    [
        (0, 0, "no GGUF file"),
        (4, 3 << 24, "big-endian"),
        (4, 1, "of version 1"),
        (8, 1 << 30, "entries are more than any model has"),
        (16, 1 << 30, "entries are more than any model has"),
        (24, 1 << 30, "a string of .* is too long"),
    ],
)
def test_numbers_of_the_header_are_checked(at, number, message, path):
    data = bytearray(path.read_bytes())
    data[at : at + 4] = struct.pack("<I", number)
    refused(path, message, data)


def spoiled(path, before, offset, layout, number):
    """Replace a number that stands some bytes behind a name."""
    data = bytearray(path.read_bytes())
    at = data.index(before) + len(before) + offset
    data[at : at + struct.calcsize(layout)] = struct.pack(layout, number)
    return data


@pytest.mark.parametrize(
    ("before", "offset", "layout", "number", "message"),
    [
        (b"half", 0, "<I", 99, "'half' has the unknown type 99"),
        (b"words", 4, "<I", 9, "'words' is a list of lists"),
        (b"words", 8, "<Q", 1 << 50, "truncated: 'words' has"),
        (b"numbers", 8, "<Q", 1 << 60, "numbers are wrong"),
        (b"one", 0, "<I", 9, "tensor 'one' has 9 axes"),
        (b"one", 4, "<Q", 1 << 39, "truncated: tensor 'one' ends after the file"),
        (b"one", 4, "<Q", 0, "tensor 'one' has the bad shape"),
        (b"one", 20, "<I", 12, "tensor 'one' is Q4_K; files of F32, F16, BF16, Q8_0 are read"),
        (b"one", 20, "<I", 999, "tensor 'one' has the unknown type 999"),
        (b"two", 24, "<Q", 32, "tensor 'two' begins within another"),
        (b"two", 24, "<Q", 257, "begins within another, or between two units"),
    ],
)
def test_numbers_behind_names_are_checked(before, offset, layout, number, message, path):
    refused(path, message, spoiled(path, before, offset, layout, number))


def test_a_name_may_not_come_twice(path):
    data = path.read_bytes()
    refused(path, "'one' comes twice", data.replace(b"two", b"one"))


@pytest.mark.parametrize("align", [0, 1 << 31])
def test_an_alignment_that_is_none(align, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_uint32("general.alignment", align)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refused(tmp_path / "m.gguf", "general.alignment is")


def test_a_part_says_how_to_join(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refused(tmp_path / "m.gguf", "one of 3 parts; join them .*llama-gguf-split --merge")


def test_what_stands_in_for_a_file_is_named(tmp_path):
    refused(tmp_path / "m.gguf", "a web page", b"<!DOCTYPE html><html>")
