"""Mutations of safetensors files that stay such files: of their headers, shapes and values."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.attacks.fuzz.of_bytes import Mutation
from tests.attacks.fuzz.of_json import edited
from tvm_c4n.checkpoint.safetensors_file import NUMPY_DTYPES

_VALUES = (float("nan"), float("inf"), -float("inf"), 6e4, -6e4, 0.0, 1e-7)


def header_edited(path: Path, random: Random) -> None:
    """Edit the header as JSON; the data stay."""
    header, data = _split(path)
    _join(path, edited(header, random), data)


def length_changed(path: Path, random: Random) -> None:
    """Let the header be longer or shorter than it is."""
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    others = [0, 1, length - 1, length + 1, length * 2, 1 << 22, 1 << 31, (1 << 64) - 1]
    data[:8] = random.choice(others).to_bytes(8, "little")
    path.write_bytes(data)


def shapes_swapped(path: Path, random: Random) -> None:
    """Exchange the shapes, names or dtypes of two tensors."""
    header, data = _split(path)
    one, other = (random.choice(_names(header)) for _ in range(2))
    kind = random.choice(["shape", "data_offsets", "dtype", "name"])
    if kind == "name":
        header[one], header[other] = header[other], header[one]
    else:
        header[one][kind], header[other][kind] = header[other][kind], header[one][kind]
    _join(path, header, data)


def shape_of_as_many(path: Path, random: Random) -> None:
    """Give a tensor another shape of as many elements, or a dtype of as many bytes."""
    header, data = _split(path)
    entry = header[random.choice(_names(header))]
    shape = entry["shape"]
    if random.random() < 0.3:
        others = {"F32": "I32", "F16": "BF16", "I8": "U8", "U8": "I8"}
        entry["dtype"] = others.get(entry["dtype"], "F64")
    else:
        shapes = [shape[::-1], [1, *shape], [int(np.prod(shape))], [*shape[:-1], 1, *shape[-1:]]]
        entry["shape"] = random.choice(shapes)
    _join(path, header, data)


def values_changed(path: Path, random: Random) -> None:
    """Put values that no training gives into a tensor: one of them, a row's worth, or all."""
    header, data = _split(path)
    changed = bytearray(data)
    entry = header[random.choice(_names(header))]
    begin, end = entry["data_offsets"]
    dtype = np.dtype(NUMPY_DTYPES[entry["dtype"]])
    count = (end - begin) // dtype.itemsize
    values = np.frombuffer(changed, dtype, count, begin)
    at = random.randrange(count or 1)
    part = values[at : at + random.choice([1, 32, count])] if random.random() < 0.7 else values
    part[...] = random.choice(_VALUES) if values.dtype.kind == "f" else random.choice([0, 127])
    _join(path, header, bytes(changed))


def tensor_lost(path: Path, random: Random) -> None:
    """Leave a tensor out, header and data."""
    header, data = _split(path)
    begin, end = header.pop(random.choice(_names(header)))["data_offsets"]
    for name in _names(header):
        offsets = header[name]["data_offsets"]
        header[name]["data_offsets"] = [o - (end - begin) * (o >= end) for o in offsets]
    _join(path, header, data[:begin] + data[end:])


def tensor_added(path: Path, random: Random) -> None:
    """Append a tensor that nobody asked for."""
    header, data = _split(path)
    name = random.choice(["x", "", "lm_head.weight", "\x1b[2J", "a" * 3000])
    offsets = [len(data), len(data) + 8]
    header[name] = {"dtype": "F16", "shape": [2, 2], "data_offsets": offsets}
    _join(path, header, data + bytes(8))


def mutations_of_tensors(path: Path) -> tuple[Mutation, ...]:
    """Return the mutations that a file allows: some need a tensor."""
    return (*_OF_HEADERS, *_OF_TENSORS) if _names(_split(path)[0]) else _OF_HEADERS


_OF_HEADERS: tuple[Mutation, ...] = (header_edited, header_edited, length_changed)
_OF_TENSORS: tuple[Mutation, ...] = (
    shapes_swapped,
    shape_of_as_many,
    values_changed,
    values_changed,
    tensor_lost,
    tensor_added,
)


def _names(header: dict[str, Any]) -> list[str]:
    return [name for name in header if name != "__metadata__"]


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _join(path: Path, header: Any, data: bytes) -> None:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
