"""A head that is tied behind a map, as the head of its own that transformers knows."""

import numpy as np
import pytest

from tests.models import HF, random_tensors
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.checkpoint.untied import Untied
from tvm_c4n.model.families import describe_model, with_head_map
from tvm_c4n.model.reference import Reference


def test_the_same_logits_without_a_head_map():
    content = with_head_map(HF)
    config = describe_model(content)
    source = ArrayCheckpoint(content, random_tensors(config))
    found = Untied(source)
    other = describe_model(found.config)
    assert (other.head_map, other.head) == (None, "lm_head.weight")
    assert set(found.names()) == set(other.tensor_shapes())
    assert all(found.shape(n) == shape for n, shape in other.tensor_shapes().items())
    ids = np.arange(12)
    expected = Reference(config, source.dense).prefill(ids)
    np.testing.assert_allclose(Reference(other, found.dense).prefill(ids), expected, rtol=1e-4)


@pytest.mark.parametrize("content", [HF, {**HF, "tie_word_embeddings": False}])
def test_a_model_without_a_head_map_is_left_alone(content):
    source = ArrayCheckpoint(content, random_tensors(describe_model(content)))
    found = Untied(source)
    assert (found.names(), found.config) == (source.names(), source.config)
