"""Runs of rows are tensors by their names."""

import numpy as np
import pytest

from tvm_c4n.checkpoint import ArrayCheckpoint, HfCheckpoint
from tvm_c4n.checkpoint.dense_export import export_dense
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.rows import Rows, rows_of

ALL = np.arange(12, dtype=np.float32).reshape(6, 2)
NAMES = [Rows("w", 0, 2).name, Rows("w", 2, 6).name]


def test_a_name_is_read_back():
    assert NAMES == ["w.rows_0_2", "w.rows_2_6"]
    assert rows_of("a.weight.rows_3_10") == Rows("a.weight", 3, 10)
    assert rows_of("a.weight") is None


def test_rows_of_a_whole_tensor_are_read():
    whole = ArrayCheckpoint({}, {"w": ALL})
    assert whole.shape(NAMES[1]) == (4, 2)
    np.testing.assert_array_equal(whole.dense(NAMES[1]), ALL[2:])
    assert whole.weight(NAMES[1]) is None
    with pytest.raises(CheckpointError, match=r"'w\.rows_2_7' is missing"):
        whole.dense("w.rows_2_7")


def test_the_dense_export_puts_them_together_again(tmp_path):
    parts = ArrayCheckpoint({"model_type": "mamba"}, {NAMES[1]: ALL[2:], NAMES[0]: ALL[:2]})
    export_dense(parts, tmp_path / "out", dtype="float32")
    found = HfCheckpoint(tmp_path / "out")
    assert found.names() == ["w"]
    np.testing.assert_array_equal(found.dense("w"), ALL)
    np.testing.assert_array_equal(found.dense(NAMES[0]), ALL[:2])
    assert found.shape(NAMES[0]) == (2, 2)


def test_the_same_rows_of_each_matrix_are_one(tmp_path):
    gate, up = Rows("w", 0, 2, each=3), Rows("w", 2, 5, each=3)
    assert gate.name == "w.each_3_rows_0_2"
    assert rows_of(up.name) == up
    stack = np.arange(60, dtype=np.float32).reshape(3, 5, 4)
    whole = ArrayCheckpoint({}, {"w": stack})
    assert whole.shape(up.name) == (9, 4)
    np.testing.assert_array_equal(whole.dense(up.name), stack[:, 2:].reshape(9, 4))
    for missing in ("w.each_4_rows_0_2", "w.each_3_rows_0_6"):
        with pytest.raises(CheckpointError, match="is missing"):
            whole.dense(missing)
    parts = {part.name: whole.dense(part.name) for part in (gate, up)}
    export_dense(ArrayCheckpoint({"model_type": "mamba"}, parts), tmp_path / "out")
    found = HfCheckpoint(tmp_path / "out")
    np.testing.assert_array_equal(found.dense("w"), stack)
    assert (found.shape("w"), found.shape(gate.name)) == ((3, 5, 4), (6, 4))


def test_the_dense_export_refuses_a_gap(tmp_path):
    with pytest.raises(CheckpointError, match="rows 0 to 2 of tensor w are missing"):
        export_dense(ArrayCheckpoint({}, {NAMES[1]: ALL[2:]}), tmp_path / "out")
