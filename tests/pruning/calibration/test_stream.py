"""A stream goes through a layer as the reference does, projection by projection."""

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model import Mamba, MambaConfig
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS
from tvm_c4n.pruning.calibration.stream import Stream, batches
from tvm_c4n.pruning.calibration.torch_mamba import BATCH_TOKENS, Layer


@pytest.fixture
def start(small_model):
    """A stream of two windows before the first layer, the layers, and the reference's logits."""
    checkpoint = open_checkpoint(small_model)
    config = MambaConfig.from_hf(checkpoint.config)
    windows = np.random.default_rng(0).integers(0, 96, (2, 12))
    embeddings = torch.from_numpy(checkpoint.dense(EMBEDDINGS))
    layers = [Layer.load(checkpoint, config, index) for index in range(config.n_layer)]
    expected = [Mamba(config, checkpoint.dense).prefill(window) for window in windows]
    return Stream(embeddings[torch.from_numpy(windows)]), layers, config, expected, checkpoint


def go(stream, layers):
    for layer in layers:
        stream.enter(layer)
        for projection in PROJECTIONS:
            assert stream.inputs.shape[-1] == layer.projections[projection].shape[1]
            stream.pass_through(layer, projection)


def test_behind_the_last_layer_are_the_references_logits(start):
    stream, layers, config, expected, checkpoint = start
    go(stream, layers)
    norm = torch.from_numpy(checkpoint.dense("backbone.norm_f.weight"))
    scale = (stream.hidden.square().mean(-1, keepdim=True) + config.eps).rsqrt()
    head = torch.from_numpy(checkpoint.dense(EMBEDDINGS))
    logits = (stream.hidden * scale * norm) @ head.T
    np.testing.assert_allclose(logits.numpy(), np.stack(expected), rtol=1e-3, atol=1e-3)


def test_a_copy_goes_its_own_way(start):
    stream, layers, *_ = start
    stream.enter(layers[0])
    stream.pass_through(layers[0], "in_proj")
    copy = stream.copy()
    before = stream.hidden.clone()
    for projection in PROJECTIONS[1:]:
        copy.pass_through(layers[0], projection)
    assert torch.equal(stream.hidden, before)
    assert not torch.equal(copy.hidden, before)
    for projection in PROJECTIONS[1:]:
        stream.pass_through(layers[0], projection)
    assert torch.equal(stream.hidden, copy.hidden)


@pytest.mark.parametrize(("count", "length"), [(1, 8), (100, 1024), (3, 2 * BATCH_TOKENS)])
def test_batches_are_whole_windows_of_about_the_same_tokens(count, length):
    windows = torch.arange(count)[:, None].expand(count, length)
    found = list(batches(windows))
    assert torch.equal(torch.cat(found), windows)
    assert all(len(batch) == 1 or batch.numel() <= BATCH_TOKENS for batch in found)
    assert len(found) <= 1 + count * length // BATCH_TOKENS * 2
