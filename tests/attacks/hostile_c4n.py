"""C4n folders that are not what they seem; see hostile.py.

The good one holds "w": n=2, int4, 2 x 20, scale groups of 4; and a dense "norm".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostile import MODEL, c4n, change, edit_json, join, split


def entry(folder: Path, **changes: object) -> str:
    return edit_json(folder / "c4n.json", lambda c: c["tensors"]["w"].update(changes))


@c4n
def manifest_wrong_format(folder: Path) -> str:
    """Another format in a file of the same name."""
    return edit_json(folder / "c4n.json", lambda c: c.update(format="gguf"))


@c4n
def manifest_from_the_future(folder: Path) -> str:
    """A later version may mean something else by the same bytes."""
    return edit_json(folder / "c4n.json", lambda c: c.update(version=4))


@c4n
def manifest_version_true(folder: Path) -> str:
    """True equals 1 in Python and is no version."""
    return edit_json(folder / "c4n.json", lambda c: c.update(version=True))


@c4n
def manifest_unknown_key(folder: Path) -> str:
    """A key that this version does not know changes what the file means."""
    return edit_json(folder / "c4n.json", lambda c: c.update(transposed=True))


@c4n
def manifest_no_tensors(folder: Path) -> str:
    """Without the list of tensors their parts cannot be put together."""
    return edit_json(folder / "c4n.json", lambda c: c.pop("tensors"))


@c4n
def manifest_huge_matrix(folder: Path) -> str:
    """A matrix of 2**31 x 2**31 would be allocated if the file were believed."""
    entry(folder, rows=2**31 - 1, cols=2**31 - 4)
    return MODEL


@c4n
def manifest_negative_rows(folder: Path) -> str:
    """A negative count of rows."""
    return entry(folder, rows=-2)


@c4n
def manifest_float_rows(folder: Path) -> str:
    """2.0 is a float, and no count."""
    return entry(folder, rows=2.0)


@c4n
def manifest_removed_four(folder: Path) -> str:
    """Removing 4 of 4 leaves no weight, and a look-up outside the tables."""
    return entry(folder, removed=4)


@c4n
def manifest_odd_cols(folder: Path) -> str:
    """22 columns are not whole groups of 4."""
    return entry(folder, cols=22)


@c4n
def manifest_odd_scale_group(folder: Path) -> str:
    """A scale group of 6 splits a group of 4."""
    return entry(folder, scale_group=6)


@c4n
def manifest_zero_scale_group(folder: Path) -> str:
    """A scale group of 0 divides by zero."""
    return entry(folder, scale_group=0)


@c4n
def manifest_unknown_dtype(folder: Path) -> str:
    """A dtype that this version does not know."""
    return entry(folder, dtype="int2")


@c4n
def manifest_other_dtype(folder: Path) -> str:
    """The manifest says int8 where the file holds nibbles."""
    entry(folder, dtype="int8")
    return MODEL


@c4n
def manifest_other_removed(folder: Path) -> str:
    """The manifest says n=3 where the file holds the values of n=2."""
    entry(folder, removed=3)
    return MODEL


@c4n
def manifest_ghost(folder: Path) -> str:
    """The manifest names a weight that the file does not hold."""
    edit_json(folder / "c4n.json", lambda c: c["tensors"].update(ghost=c["tensors"]["w"]))
    return MODEL


@c4n
def manifest_path_as_name(folder: Path) -> str:
    """A tensor name with a path could become a file name in a program that exports tensors."""

    def edit(manifest: dict[str, Any]) -> None:
        manifest["tensors"]["../../etc/x"] = manifest["tensors"]["w"]

    return edit_json(folder / "c4n.json", edit)


@c4n
def manifest_forgets_a_weight(folder: Path) -> str:
    """Parts of a weight that the manifest does not list have no meaning."""
    edit_json(folder / "c4n.json", lambda c: c["tensors"].pop("w"))
    return MODEL


@c4n
def manifest_dangling_link(folder: Path) -> str:
    """A dangling c4n.json must not make the folder pass for a Hugging Face one."""
    (folder / "c4n.json").unlink()
    (folder / "c4n.json").symlink_to("gone")
    return "c4n.json"


def poke(folder: Path, tensor: str, data: bytes) -> str:
    """Overwrite the first bytes of a tensor."""
    header, body = split(folder / MODEL)
    begin = header[tensor]["data_offsets"][0]
    return join(folder / MODEL, header, body[:begin] + data + body[begin + len(data) :])


@c4n
def positions_do_not_ascend(folder: Path) -> str:
    """Two equal positions in a group would add one activation twice."""
    return poke(folder, "w.positions", b"\x55")


@c4n
def positions_padding(folder: Path) -> str:
    """Bits after the last group of a row could carry a message."""
    return poke(folder, "w.positions", bytes([0x44, 0x44, 0xF4]))


@c4n
def scales_infinite(folder: Path) -> str:
    """An infinite scale turns the zeros of the group into NaN."""
    return poke(folder, "w.scales", b"\x00\x7c")


@c4n
def dense_tensor_of_integers(folder: Path) -> str:
    """A dense tensor of bytes beside the packed ones is no weight of the model."""

    def edit(header: dict[str, Any]) -> None:
        header["norm"].update(dtype="U8", shape=[32])

    return change(folder, edit)


@c4n
def dense_tensor_with_the_name_of_a_packed_one(folder: Path) -> str:
    """A name that is both dense and packed has two meanings."""
    return change(folder, lambda h: h.update(w=h.pop("norm")))
