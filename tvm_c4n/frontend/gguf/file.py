"""GGUF files: a strict reader of what says itself what the tensors are, and one tensor on demand.

The gguf package names types and dequantises. Its reader is not used: it takes the numbers of a file
for granted, so that a damaged one makes it loop for ever.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize
from numpy.typing import NDArray

from tvm_c4n.checkpoint.files import os_errors
from tvm_c4n.checkpoint.original import GGUF_MAGIC
from tvm_c4n.checkpoint.reading import check_head, open_regular
from tvm_c4n.errors import CheckpointError, shown

AGAIN = "download the file again"
# Types that are read, and what safetensors calls what comes of them.
STORED = {"F32": "F32", "F16": "F16", "BF16": "BF16", "Q8_0": "F32"}
_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_VERSIONS = (2, 3)
# A vocabulary of 262,144 tokens and its merges take some 20 MB.
_MAX_HEADER_BYTES = 1 << 28
_MAX_ENTRIES = 1 << 16
_MAX_AXES = 4
_MAX_NAME_BYTES = 1 << 10
_SCALARS = {
    GGUFValueType.UINT8: "<u1", GGUFValueType.INT8: "<i1", GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2", GGUFValueType.UINT32: "<u4", GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4", GGUFValueType.BOOL: "?", GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8", GGUFValueType.FLOAT64: "<f8",
}  # fmt: skip


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of a file: llama.cpp's type, row-major shape, bytes [begin, begin + size)."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    size_bytes: int


class GgufFile:
    """A validated GGUF file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    values : dict of str to object
        The file's keys: numbers, strings, lists of these.
    tensors : dict of str to GgufTensor

    Raises
    ------
    CheckpointError
        Missing, truncated, not exactly as the format says, a part of several, or with tensors of
        a type that is not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_head(path, "give a GGUF file")
        stream, self._size = open_regular(path, AGAIN)
        with os_errors(path, "read"), stream:
            self._stream, self._left = stream, min(self._size, _MAX_HEADER_BYTES)
            self._read()
        del self._stream

    def _read(self) -> None:
        """Read all but the tensors' bytes."""
        if self._take(4) != GGUF_MAGIC:
            self._fail("does not begin with 'GGUF', so this is no GGUF file")
        version = self._number("<I")
        if version not in _VERSIONS:
            big = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
            self._fail("big-endian, which is not read" if big else f"of version {shown(version)}")
        tensors, keys = self._number("<Q"), self._number("<Q")
        if max(tensors, keys) > _MAX_ENTRIES:
            self._fail(f"{max(tensors, keys)} entries are more than any model has")
        self.values: dict[str, Any] = {}
        for _ in range(keys):
            self._unique(name := self._string(_MAX_NAME_BYTES), self.values)
            self.values[name] = self._value(self._type(name), name)
        if (parts := self.values.get("split.count", 1)) not in (0, 1):
            raise CheckpointError(
                f"{self.path}: one of {shown(parts)} parts; join them with llama.cpp's "
                "`llama-gguf-split --merge FIRST OUT`"
            )
        found: dict[str, GgufTensor] = {}
        for _ in range(tensors):
            self._unique(name := self._string(_MAX_NAME_BYTES), found)
            found[name] = self._tensor(name)
        self._place(found)

    def _place(self, found: dict[str, GgufTensor]) -> None:
        """Say where tensors begin in the file, and that none overlaps another or its end."""
        align = self.values.get("general.alignment", 32)
        if type(align) is not int or not 0 < align <= 1 << 16:
            self._fail(f"general.alignment is {shown(align)}")
        header = min(self._size, _MAX_HEADER_BYTES) - self._left
        start = header + -header % align
        end = 0
        self.tensors: dict[str, GgufTensor] = {}
        for name, tensor in sorted(found.items(), key=lambda item: item[1].begin):
            if tensor.begin < end or tensor.begin % align:
                self._fail(f"tensor {shown(name)} begins within another, or between two units")
            end = tensor.begin + tensor.size_bytes
            if start + end > self._size:
                self._fail(f"truncated: tensor {shown(name)} ends after the file")
            self.tensors[name] = GgufTensor(
                tensor.kind, tensor.shape, start + tensor.begin, tensor.size_bytes
            )

    def _tensor(self, name: str) -> GgufTensor:
        axes = self._number("<I")
        if not 0 < axes <= _MAX_AXES:
            self._fail(f"tensor {shown(name)} has {axes} axes")
        shape = tuple(self._number("<Q") for _ in range(axes))[::-1]
        number, begin = self._number("<I"), self._number("<Q")
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            self._fail(f"tensor {shown(name)} has the unknown type {number}")
        if kind.name not in STORED:
            raise CheckpointError(
                f"{self.path}: tensor {shown(name)} is {kind.name}; files of {', '.join(STORED)} "
                "are read: take such a file of this model, or the one that it was quantised from"
            )
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if not all(0 < size < 1 << 40 for size in shape) or shape[-1] % block:
            self._fail(f"tensor {shown(name)} has the bad shape {shown(list(shape))}")
        return GgufTensor(kind.name, shape, begin, prod(shape) // block * block_bytes)

    def _value(self, kind: GGUFValueType, name: str, *, inner: bool = False) -> Any:
        if kind == GGUFValueType.STRING:
            return self._string(_MAX_HEADER_BYTES)
        if kind == GGUFValueType.ARRAY:
            if inner:
                self._fail(f"{shown(name)} is a list of lists")
            return self._list(name)
        return np.frombuffer(self._take(np.dtype(_SCALARS[kind]).itemsize), _SCALARS[kind])[
            0
        ].item()

    def _list(self, name: str) -> list[Any]:
        kind, count = self._type(name), self._number("<Q")
        if kind in _SCALARS:
            dtype = np.dtype(_SCALARS[kind])
            return list(np.frombuffer(self._take(count * dtype.itemsize), dtype).tolist())
        if count > self._left // 8:  # each string has its length in 8 bytes
            self._fail(f"truncated: {shown(name)} has {count} entries")
        return [self._value(kind, name, inner=True) for _ in range(count)]

    def _type(self, name: str) -> GGUFValueType:
        number = self._number("<I")
        try:
            return GGUFValueType(number)
        except ValueError:
            self._fail(f"{shown(name)} has the unknown type {number}")

    def _string(self, most: int) -> str:
        length = self._number("<Q")
        if length > most:
            self._fail(f"a string of {length} bytes is too long, or the file is truncated")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            self._fail("a string is not UTF-8")

    def _number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._take(struct.calcsize(layout)))[0])

    def _take(self, count: int) -> bytes:
        if count > self._left:
            what = (
                "truncated" if self._size <= _MAX_HEADER_BYTES else "what comes before the tensors"
            )
            self._fail(f"{what}, or its numbers are wrong")
        self._left -= count
        data = self._stream.read(count)
        if len(data) < count:
            self._fail("truncated while it was read")
        return data

    def _unique(self, name: str, found: dict[str, Any]) -> None:
        if name in found:
            self._fail(f"{shown(name)} comes twice")

    def _fail(self, cause: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {cause}; {AGAIN}")

    def read(self, name: str) -> NDArray[Any]:
        """Read a tensor: float32, float16, or the bits of bfloat16; Q8_0 as float32, exactly."""
        tensor = self.tensors[name]
        data = np.empty(tensor.size_bytes, np.uint8)
        stream: BinaryIO
        with os_errors(self.path, "read"), self.path.open("rb") as stream:
            stream.seek(tensor.begin)
            if stream.readinto(data.data) != tensor.size_bytes:
                self._fail(f"truncated while tensor {shown(name)} was read")
        if tensor.kind in _NUMPY:
            return data.view(_NUMPY[tensor.kind]).reshape(tensor.shape)
        kind = GGMLQuantizationType[tensor.kind]
        block, block_bytes = GGML_QUANT_SIZES[kind]
        rows = data.reshape(*tensor.shape[:-1], tensor.shape[-1] // block * block_bytes)
        with np.errstate(invalid="ignore"):  # a scale that is infinite: the model's reader says so
            return dequantize(rows, kind).astype("<f4", copy=False)
