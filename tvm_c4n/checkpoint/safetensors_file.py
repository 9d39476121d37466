"""Safetensors files: a strict reader that loads one tensor on demand, and a streaming writer.

The reader is our own for three reasons: each kind of damage gets its own sentence, bfloat16 and
float16 widen to float32 in pieces, and plain reads are used in place of a memory map, whose file
another process may truncate (which kills the reader).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.files import os_errors
from tvm_c4n.checkpoint.json_reading import parse_json
from tvm_c4n.checkpoint.reading import check_head, open_regular
from tvm_c4n.errors import CheckpointError, shown

MAX_HEADER_BYTES = 1 << 22
DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
NUMPY_DTYPES = {
    "F32": "<f4", "F16": "<f2", "U8": "|u1", "I8": "|i1", "I32": "<i4", "I64": "<i8",
    "BOOL": "|b1",
}  # fmt: skip
_MAX_AXES = 8
# Elements that are widened at a time: bounds the memory of temporaries.
_PIECE = 1 << 22
_AGAIN = "download or save the model again"


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: safetensors dtype, shape, and bytes [begin, end) after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """A validated safetensors file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    entries : dict[str, Entry]
        In the order of their bytes.
    metadata : dict[str, str]

    Raises
    ------
    CheckpointError
        Missing, truncated, or not exactly as the format says; the file is named.
    """

    def __init__(self, path: Path, remedy: str = _AGAIN) -> None:
        self.path = path
        self._remedy = remedy
        check_head(path, remedy)
        stream, size = open_regular(path, remedy)
        with os_errors(path, "read"), stream:
            prefix = stream.read(8)
            if len(prefix) < 8:
                self._fail(f"truncated, {size} bytes hold no safetensors header")
            length = int.from_bytes(prefix, "little")
            if length > MAX_HEADER_BYTES:
                self._fail(f"header of {length} bytes is too large, so this is not safetensors")
            if length > size - 8:
                self._fail(f"truncated, the header of {length} bytes ends after the file")
            text = stream.read(length)
        if not text.startswith(b"{"):
            self._fail("header does not start with '{', so this is not safetensors")
        header = parse_json(text, f"{path} (header)", remedy)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or any(type(v) is not str for v in metadata.values()):
            self._fail("__metadata__ is not a map of strings")
        self.metadata: dict[str, str] = metadata
        parsed = [(name, self._entry(name, value)) for name, value in header.items()]
        parsed.sort(key=lambda item: (item[1].begin, item[1].end))
        self.entries: dict[str, Entry] = dict(parsed)
        self._data_start = 8 + length
        self._check_cover(size - self._data_start)

    def _fail(self, cause: str) -> None:
        raise CheckpointError(f"{self.path}: {cause}; {self._remedy}")

    def _entry(self, name: str, value: Any) -> Entry:
        where = f"tensor {shown(name)}"
        if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
            self._fail(f"{where} must have dtype, shape and data_offsets and nothing else")
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
            self._fail(f"{where} has the unknown dtype {shown(dtype)}")
        if not _sizes(shape) or len(shape) > _MAX_AXES:
            self._fail(f"{where} has the bad shape {shown(shape)}")
        if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            self._fail(f"{where} has the bad data_offsets {shown(offsets)}")
        if prod(shape) * DTYPE_BYTES[dtype] != offsets[1] - offsets[0]:
            self._fail(f"{where} is {dtype}{shown(shape)} but has {offsets[1] - offsets[0]} bytes")
        return Entry(dtype, tuple(shape), offsets[0], offsets[1])

    def _check_cover(self, data_bytes: int) -> None:
        """Tensors must follow each other without holes or overlaps, and fill the file."""
        end = 0
        for name, entry in self.entries.items():
            if entry.begin != end:
                kind = "overlaps the tensor before" if entry.begin < end else "leaves a hole before"
                self._fail(f"tensor {shown(name)} {kind} (byte {entry.begin}, expected {end})")
            end = entry.end
        if end > data_bytes:
            self._fail(f"truncated, tensors need {end} bytes and {data_bytes} are there")
        if end < data_bytes:
            self._fail(f"{data_bytes - end} bytes follow the last tensor")

    def entry(self, name: str) -> Entry:
        """Return one tensor's entry; CheckpointError naming file and tensor if it is missing."""
        if name not in self.entries:
            self._fail(f"tensor {shown(name)} is missing")
        return self.entries[name]

    def read(self, name: str) -> NDArray[Any]:
        """Read a tensor of a dtype of `NUMPY_DTYPES` as it is stored."""
        entry = self.entry(name)
        result = np.empty(entry.shape, dtype=NUMPY_DTYPES[entry.dtype])
        with os_errors(self.path, "read"), self.path.open("rb") as stream:
            self._fill(stream, entry.begin, result.reshape(-1).view(np.uint8), name)
        return result.astype(result.dtype.newbyteorder("="), copy=False)

    def pieces(self, name: str) -> Iterator[memoryview]:
        """Yield a tensor's bytes as they are stored, some megabytes at a time."""
        entry = self.entry(name)
        with os_errors(self.path, "read"), self.path.open("rb") as stream:
            for begin in range(entry.begin, entry.end, _PIECE):
                piece = np.empty(min(_PIECE, entry.end - begin), np.uint8)
                self._fill(stream, begin, piece, name)
                yield piece.data

    def read_float32(self, name: str) -> NDArray[np.float32]:
        """Read a tensor of dtype F32, F16 or BF16 as float32, converting a piece at a time."""
        entry = self.entry(name)
        if entry.dtype == "F32":
            return self.read(name)
        result = np.empty(prod(entry.shape), dtype=np.float32)
        with os_errors(self.path, "read"), self.path.open("rb") as stream:
            for start in range(0, result.size, _PIECE):
                part = result[start : start + _PIECE]
                raw = np.empty(part.size, dtype="<f2" if entry.dtype == "F16" else "<u2")
                self._fill(stream, entry.begin + 2 * start, raw.view(np.uint8), name)
                if entry.dtype == "F16":
                    part[...] = raw
                else:  # bfloat16 is the upper half of a float32
                    part[...] = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return result.reshape(entry.shape)

    def _fill(self, stream: BinaryIO, begin: int, target: NDArray[np.uint8], name: str) -> None:
        stream.seek(self._data_start + begin)
        view = target.data
        done = 0
        while done < len(view):
            got = stream.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:  # the file was whole when it was opened
                self._fail(f"truncated while tensor {shown(name)} was read")
            done += got


def _sizes(value: Any) -> bool:
    """Say whether a JSON value is a list of sizes that fit a file (bool is no size)."""
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in value)


def storage_order(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[str]:
    """Order of tensors in a file: wider dtypes first, then by name.

    It depends on the names and dtypes alone, and keeps every tensor aligned to its dtype without
    padding (which the format forbids).
    """
    return sorted(tensors, key=lambda name: (-DTYPE_BYTES[tensors[name][0]], name))


def write_safetensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    data: Callable[[str], Iterable[bytes | memoryview]],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file tensor by tensor.

    Parameters
    ----------
    path : Path
    tensors : mapping of name to (dtype, shape)
    data : callable
        Gives the bytes of one tensor, in pieces; called once per tensor in `storage_order`.
    metadata : mapping of str to str

    Raises
    ------
    CheckpointError
        A disk error, too many tensors, or data of another length than dtype and shape say.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    order = storage_order(tensors)
    for name in order:
        dtype, shape = tensors[name]
        begin, end = end, end + prod(shape) * DTYPE_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: too many tensors for a header; write fewer per file")
    with os_errors(path, "write", 8 + len(text) + end), path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for name in order:
            wanted = header[name]["data_offsets"][1] + 8 + len(text)
            for piece in data(name):
                stream.write(piece)
            if stream.tell() != wanted:
                raise CheckpointError(f"{path}: tensor {name} has data of another length")


def little_endian(array: NDArray[Any]) -> memoryview:
    """Bytes of an array, row-major and little-endian."""
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data
