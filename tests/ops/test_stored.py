"""The stored form as operators read it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call_all
from tests.ops.repack.read_back import reader, weight_of
from tvm_c4n.ops.stored import StoredFormat, stored_arrays
from tvm_c4n.sparsity import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_reads_what_is_stored(dtype: str) -> None:
    calls, expected = {}, {}
    for removed in range(4):
        weight = weight_of((21, 136), removed, dtype)
        fmt = StoredFormat(21, 136, removed, dtype, weight.scale_group)
        arrays = stored_arrays(weight)
        assert [(a.shape, str(a.dtype)) for a in arrays] == fmt.shapes()
        back = fmt.weight(arrays)
        np.testing.assert_array_equal(back.dense(), weight.dense())
        calls[f"n{removed}"] = reader(fmt), (*arrays, np.zeros((21, 136), np.float32))
        expected[f"n{removed}"] = weight.dense()
    for name, after in call_all(calls).items():
        np.testing.assert_array_equal(after[-1], expected[name])
