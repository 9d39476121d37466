"""Experts that differ in n lie in one array: a table, then each as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.ops.expert_weights import arrays_of, form_of, stored_shapes, stored_weight
from tvm_c4n.ops.repack import panel_format, repack, stacked_layout
from tvm_c4n.ops.spec import ExpertLinearSpec
from tvm_c4n.sparsity import StackedWeight, from_dense, mask_from_scores, pack

EACH, ROWS, COLS = (2, 1, 3, 2, 1), 21, 256


def made(dtype: str) -> StackedWeight:
    scores = np.random.default_rng(0).standard_normal((len(EACH), ROWS, COLS))
    found = StackedWeight.of(
        [
            from_dense(s, n, dtype, mask=mask_from_scores(np.abs(s), n), scale_group=128)  # type: ignore[arg-type]
            for s, n in zip(scores, EACH, strict=True)
        ]
    )
    assert isinstance(found, StackedWeight)
    return found


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
def test_each_expert_is_where_the_table_says(dtype: str, lanes: int) -> None:
    weight = made(dtype)
    spec = ExpertLinearSpec(False, **{**form_of(weight, 5), "lanes": lanes}, chosen=2)
    assert spec.counts == (0, 2, 2, 1)
    array, layout = repack(weight, spec), stacked_layout(spec)
    assert array.shape == (layout.size_bytes,)
    table = array[:20].view(np.int32)
    for expert, entry in enumerate(table):
        n, number = int(entry) % 4, int(entry) // 4
        assert n == EACH[expert]
        alone = panel_format(spec.of(n)).repack(weight.matrix(expert)).reshape(-1)
        at = layout.offsets[[1, 2, 3].index(n)] + number * alone.size
        np.testing.assert_array_equal(array[at : at + alone.size], alone)
    assert all(offset % 64 == 0 for offset in layout.offsets)


def test_stored_arrays_are_read_back() -> None:
    weight = made("int4")
    spec, arrays = ExpertLinearSpec(False, **form_of(weight, 5), chosen=2), arrays_of(weight)
    assert [(a.shape, str(a.dtype)) for a in arrays] == stored_shapes(spec)
    again = stored_weight(spec, arrays)
    assert again.removed == EACH
    np.testing.assert_array_equal(again.dense(), weight.dense())


def test_dense_and_other_experts_of_few_columns_have_no_kernel_in_common() -> None:
    weight = pack(
        np.eye(8, 64, dtype=np.float32), (0, 2), "int8", mask=np.arange(512).reshape(8, 64) % 4 < 2
    )
    with pytest.raises(C4nError, match="int8 experts of 64 columns: some are dense and others"):
        form_of(weight, 2)
