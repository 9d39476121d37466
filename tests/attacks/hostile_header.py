"""Safetensors headers that lie; see hostile.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostile import MODEL, both, change, join


@both
def header_length_huge(folder: Path) -> str:
    """A header length of 2**63 asks for memory that no machine has."""
    (folder / MODEL).write_bytes((1 << 63).to_bytes(8, "little") + b"{}")
    return MODEL


@both
def header_longer_than_file(folder: Path) -> str:
    """A header that ends after the file would be read short."""
    (folder / MODEL).write_bytes((1000).to_bytes(8, "little") + b"{}")
    return MODEL


@both
def header_garbage(folder: Path) -> str:
    """Random bytes after a plausible length are not JSON."""
    return join(folder / MODEL, b"{" + bytes(range(128, 192)), b"")


@both
def header_list(folder: Path) -> str:
    """A JSON list is not a map of tensors."""
    return join(folder / MODEL, b"[]", b"")


@both
def header_nan(folder: Path) -> str:
    """NaN is no JSON, and compares false with every limit."""
    text = b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'
    return join(folder / MODEL, text, bytes(4))


@both
def header_same_tensor_twice(folder: Path) -> str:
    """With a tensor named twice, a checker may look at one and the loader at the other."""
    one = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    return join(folder / MODEL, b"{" + one + b"," + one + b"}", b"\0")


@both
def header_metadata_of_numbers(folder: Path) -> str:
    """The metadata are strings by the format; programs print them."""
    return change(folder, lambda h: h.update(__metadata__={"format": 1}))


def first(header: dict[str, Any]) -> dict[str, Any]:
    return next(value for name, value in header.items() if name[:2] != "__")


@both
def header_huge_shape(folder: Path) -> str:
    """A shape of 2**40 weights over a few bytes would be allocated before it is read."""
    return change(folder, lambda h: first(h).update(shape=[1 << 20, 1 << 20]))


@both
def header_shape_overflows(folder: Path) -> str:
    """Sizes whose product wraps round 2**64 to a small number fool fixed-width arithmetic."""
    return change(folder, lambda h: first(h).update(shape=[1 << 32, 1 << 32, 4]))


@both
def header_negative_shape(folder: Path) -> str:
    """Two negative sizes have a positive product."""
    return change(folder, lambda h: first(h).update(shape=[-2, -4]))


@both
def header_boolean_shape(folder: Path) -> str:
    """True counts as 1 in Python."""
    text = b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[false,4]}}'
    return join(folder / MODEL, text, bytes(4))


@both
def header_many_axes(folder: Path) -> str:
    """NumPy arrays have at most 64 axes."""
    return change(folder, lambda h: first(h).update(shape=[1] * 100))


@both
def header_offsets_reversed(folder: Path) -> str:
    """A tensor that ends before it begins has a negative size."""
    return change(folder, lambda h: first(h)["data_offsets"].reverse())


@both
def header_offsets_outside(folder: Path) -> str:
    """Offsets beyond the file would read what is not there."""

    def edit(header: dict[str, Any]) -> None:
        entry = first(header)
        entry["data_offsets"] = [x + (1 << 30) for x in entry["data_offsets"]]

    return change(folder, edit)


@both
def header_offsets_overlap(folder: Path) -> str:
    """Two tensors over the same bytes let one change the other."""
    one = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    two = b'"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}'
    return join(folder / MODEL, b"{" + one + b"," + two + b"}", bytes(12))


@both
def header_hole(folder: Path) -> str:
    """Bytes that belong to no tensor can carry anything."""
    return change(folder, lambda h: h.pop(next(n for n in h if n[:2] != "__")))


@both
def header_unknown_dtype(folder: Path) -> str:
    """A dtype that does not exist has no size."""
    return change(folder, lambda h: first(h).update(dtype="F7"))


@both
def header_dtype_is_a_list(folder: Path) -> str:
    """A dtype that cannot be hashed may not raise TypeError."""
    return change(folder, lambda h: first(h).update(dtype=["F32"]))


@both
def header_entry_is_a_number(folder: Path) -> str:
    """A tensor must be described by an object."""
    return change(folder, lambda h: h.update(extra=3))


@both
def header_extra_key(folder: Path) -> str:
    """A key that the format does not know may mean something to another reader."""
    return change(folder, lambda h: first(h).update(strides=[1]))
