"""TVM's own build of the dense model computes the same as the reference."""

import numpy as np
import pytest

from benchmarks.tvm_dense import VARIANTS, TvmModel
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference


@pytest.mark.parametrize(
    "variant", [VARIANTS[0], *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS[1:])]
)
def test_steps_are_those_of_the_reference(variant, small_model, tmp_path):
    checkpoint = open_checkpoint(small_model)
    reference = Reference(describe_model(checkpoint.config), checkpoint.dense)
    model = TvmModel(checkpoint, variant, tmp_path)
    for token in (3, 17, 5, 17):
        np.testing.assert_allclose(model.step(token), reference.step(token), rtol=1e-3, atol=1e-4)
