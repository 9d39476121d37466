"""C4n folders whose experts differ in n, and that are not what they seem; see hostile.py.

The good one holds "e.each_3_rows_0_2": n = 2, 1, 2, int4, three matrices of 2 x 20.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostile import MODEL, change, edit_json, experts, join, split

NAME = "e.each_3_rows_0_2"


def entry(folder: Path, **changes: object) -> str:
    return edit_json(folder / "c4n.json", lambda c: c["tensors"][NAME].update(changes))


@experts
def list_of_another_length(folder: Path) -> str:
    """Five experts would be read from the memory of three."""
    return entry(folder, removed=[2, 1, 2, 1, 2])


@experts
def list_of_another_order_of_counts(folder: Path) -> str:
    """The file holds two experts of n=2 and one of n=1."""
    entry(folder, removed=[1, 1, 2])
    return MODEL


@experts
def list_with_another_n(folder: Path) -> str:
    """The file holds no expert of n=3."""
    entry(folder, removed=[2, 3, 2])
    return MODEL


@experts
def list_of_one_n(folder: Path) -> str:
    """All alike are one weight, with one n."""
    return entry(folder, removed=[2, 2, 2])


@experts
def list_of_large_n(folder: Path) -> str:
    """Removing 4 of 4 leaves no weight."""
    return entry(folder, removed=[2, 4, 2])


@experts
def list_of_truth(folder: Path) -> str:
    """True equals 1 in Python and is no n."""
    return entry(folder, removed=[2, True, 2])


@experts
def list_in_a_list(folder: Path) -> str:
    """A list is no n."""
    return entry(folder, removed=[2, [1], 2])


@experts
def endless_list(folder: Path) -> str:
    """More experts than any model has."""
    return entry(folder, removed=[1, 2] * 3000, rows=6000)


@experts
def one_n_of_what_is_cut(folder: Path) -> str:
    """With one n the arrays would have other names."""
    entry(folder, removed=2)
    return MODEL


@experts
def rows_that_are_no_multiple(folder: Path) -> str:
    """Seven rows are not three experts."""
    return entry(folder, rows=7)


@experts
def fewer_rows_than_experts(folder: Path) -> str:
    """Experts without rows."""
    return entry(folder, rows=2)


@experts
def the_first_version_has_no_lists(folder: Path) -> str:
    """Programs that read version 1 only must not be told that this is one."""
    return edit_json(folder / "c4n.json", lambda c: c.update(version=1))


@experts
def list_for_one_matrix(folder: Path) -> str:
    """A name without a count of matrices is one matrix."""

    def edit(manifest: dict[str, Any]) -> None:
        manifest["tensors"]["e"] = manifest["tensors"].pop(NAME)

    return edit_json(folder / "c4n.json", edit)


@experts
def a_part_that_is_missing(folder: Path) -> str:
    """One n of the list has no values."""
    return change(folder, lambda h: h.update({"x": h.pop(f"{NAME}.n1.values")}))


@experts
def a_part_of_another_shape(folder: Path) -> str:
    """The values of n=1 and of n=2 trade places."""

    def edit(header: dict[str, Any]) -> None:
        one, two = f"{NAME}.n1.values", f"{NAME}.n2.values"
        header[one], header[two] = header[two], header[one]

    return change(folder, edit)


@experts
def positions_of_a_part(folder: Path) -> str:
    """Two equal positions in a group of one n."""
    header, body = split(folder / MODEL)
    begin = header[f"{NAME}.n2.positions"]["data_offsets"][0]
    return join(folder / MODEL, header, body[:begin] + b"\x55" + body[begin + 1 :])
