"""c4n.json: what it says of a weight's tensors, and what it may not say.

Hostile manifests are in `tests/attacks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvm_c4n.checkpoint.manifest import (
    MANIFEST,
    WeightEntry,
    is_part,
    read_manifest,
    valid_name,
)
from tvm_c4n.errors import CheckpointError
from tvm_c4n.sparsity import DTYPES, StackedWeight, from_dense, mask_from_scores

ENTRY = {"rows": 2, "cols": 12, "removed": 2, "dtype": "int8", "scale_group": 64}


# Two matrices of a row each.
EACH = "w.each_2_rows_0_1"


def written(tmp_path: Path, **changes: Any) -> Path:
    value = {"format": "c4n", "version": 1, "tensors": {"w": ENTRY}, **changes}
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("removed", range(4))
def test_an_entry_names_the_arrays_of_its_weight(dtype: Any, removed: int) -> None:
    scores = np.random.default_rng(0).standard_normal((3, 20))
    weight = from_dense(scores, removed, dtype, mask=mask_from_scores(scores, removed))
    names = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}
    expected = {
        f"w.{part}": (names[str(array.dtype)], array.shape)
        for part in ("values", "positions", "scales")
        if (array := getattr(weight, part)) is not None
    }
    assert WeightEntry.of(weight).tensors("w") == expected


def test_an_entry_of_matrices_that_differ_names_the_arrays_of_each_n() -> None:
    scores = np.random.default_rng(0).standard_normal((6, 20))
    one, other = (
        from_dense(scores[:2], n, "int8", mask=mask_from_scores(scores[:2], n)) for n in (1, 2)
    )
    weight = StackedWeight.of([other, one, other])
    entry = WeightEntry.of(weight)
    assert entry.removed == (2, 1, 2)
    arrays = entry.arrays("w", weight)
    assert {name: array.shape for name, array in arrays.items()} == {
        "w.n1.values": (2, 15),
        "w.n1.positions": (2, 2),
        "w.n1.scales": (2, 1),
        "w.n2.values": (4, 10),
        "w.n2.positions": (4, 3),
        "w.n2.scales": (4, 1),
    }
    assert {name: shape for name, (_, shape) in entry.tensors("w").items()} == {
        name: array.shape for name, array in arrays.items()
    }
    again = entry.weight("w", arrays.__getitem__)
    np.testing.assert_array_equal(again.dense(), weight.dense())


def test_a_manifest_is_read_with_and_without_its_producer(tmp_path: Path) -> None:
    found = read_manifest(written(tmp_path))
    assert found.tensors == {"w": WeightEntry(**ENTRY)}  # type: ignore[arg-type]
    assert found.producer is None
    producer = {"name": "other", "version": "9"}
    assert read_manifest(written(tmp_path, producer=producer)).producer is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 4}, "format version 4 is newer than 3, .* upgrade"),
        ({"tensors": {"w": {**ENTRY, "dtype": "int3"}}}, "needs format version 3, not 1"),
        ({"version": 2, "tensors": {"w": {**ENTRY, "dtype": "int2"}}}, "version 3, not 2"),
        ({"tensors": {"w": {**ENTRY, "removed": 4}}}, "n of every 4 is 4; it should be 0, 1, 2"),
        ({"tensors": {"w": {**ENTRY, "removed": [1, 4]}}}, "n of every 4 is .1, 4.; it should be"),
        ({"tensors": {"w": {**ENTRY, "removed": [1, True]}}}, "n of every 4 is"),
        ({"tensors": {"w": {**ENTRY, "removed": []}}}, "has 2 to 1024 numbers, not all the same"),
        ({"tensors": {"w": {**ENTRY, "removed": [2, 2]}}}, "not all the same"),
        ({"tensors": {"w": {**ENTRY, "removed": [1, 2] * 600}}}, "has 2 to 1024 numbers"),
        ({"tensors": {"w": {**ENTRY, "removed": [1, 2, 2]}}}, "2 rows are no multiple of 3"),
        ({"tensors": {EACH: {**ENTRY, "removed": [1, 2]}}}, "needs format version 2, not 1"),
        ({"version": 2, "tensors": {"w": {**ENTRY, "removed": [1, 2]}}}, "a list of 2 n"),
        (
            {"version": 2, "tensors": {EACH: {**ENTRY, "rows": 3, "removed": [1, 2, 3]}}},
            "a list of 3 n",
        ),
        ({"version": 0}, "version: "),
        ({"format": "gguf"}, "format: "),
        ({"tensors": None}, "tensors: Field required"),
        ({"extra": 1}, "extra: "),
        ({"tensors": {"../w": ENTRY}}, "bad tensor name"),
        ({"tensors": {"w": {**ENTRY, "cols": 13}}}, "13 columns"),
        ({"tensors": {"w": {**ENTRY, "rows": True}}}, r"tensors\.w\.rows"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_the_place(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_manifest(written(tmp_path, **changes))
    assert MANIFEST in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("backbone.layers.0.mixer.in_proj.weight", True),
        ("0-a_b.C", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("", False),
        (".a", False),
        ("a/b", False),
        ("a b", False),
        ("ä", False),
        ("__metadata__", False),
        ("a\n", False),
    ],
)
def test_names(name: str, valid: bool) -> None:
    assert valid_name(name) is valid


def test_parts_are_told_by_the_end_of_the_name() -> None:
    assert is_part("w.values")
    assert is_part("positions")
    assert not is_part("w.values.weight")
