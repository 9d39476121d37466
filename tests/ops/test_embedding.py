"""The embedding's definition, which is also its kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import embedding
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import EmbeddingSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.sparsity import DTYPES, from_dense


@pytest.mark.parametrize("lanes", [0, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_equals_the_rows_of_the_dense_weight(dtype: str, lanes: int) -> None:
    rng = np.random.default_rng(0)
    weight = from_dense(rng.normal(size=(21, 100)).astype(np.float32), 0, dtype)
    spec = EmbeddingSpec(True, 21, 100, dtype, weight.scale_group, lanes)
    ids = np.array([0, 20, 7, 7], np.int32)
    weights = [repack(weight, spec)] if lanes else stored_arrays(weight)
    out = call(embedding.define(spec), ids, *weights, np.zeros((4, 100), "f4"))[-1]
    np.testing.assert_array_equal(out, embedding.oracle(ids, weight))
    scaled = call(embedding.define(replace(spec, scale=0.5)), ids, *weights, np.zeros_like(out))[-1]
    np.testing.assert_array_equal(scaled, out / 2)
