"""A stream goes through a layer as the reference does, projection by projection."""

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.ops import BATCH_TOKENS
from tvm_c4n.pruning.calibration.stream import Stream, batches


@pytest.fixture
def start(small_model):
    """A stream of two windows before the first layer, the layers, and the reference's logits."""
    checkpoint = open_checkpoint(small_model)
    config = describe_model(checkpoint.config)
    windows = np.random.default_rng(0).integers(0, 96, (2, 12))
    embeddings = torch.from_numpy(checkpoint.dense(config.embeddings))
    layers = [Layer.load(checkpoint, config, index) for index in range(config.n_layer)]
    expected = [Reference(config, checkpoint.dense).prefill(window) for window in windows]
    return Stream(embeddings[torch.from_numpy(windows)]), layers, config, expected, checkpoint


def go(stream, layers, *, asked):
    for layer in layers:
        stream.enter(layer)
        for weight in layer.projections.values():
            assert stream.inputs.shape[-1] == weight.shape[1]
            if asked:
                torch.testing.assert_close(stream.product(layer), stream.inputs @ weight.T)
            stream.pass_through(layer)


@pytest.mark.parametrize("asked", [False, True])
def test_behind_the_last_layer_are_the_references_logits(start, asked):
    """Whether somebody asked for the products on the way or not."""
    stream, layers, config, expected, checkpoint = start
    go(stream, layers, asked=asked)
    norm = torch.from_numpy(checkpoint.dense("backbone.norm_f.weight"))
    scale = (stream.hidden.square().mean(-1, keepdim=True) + config.final_norm.eps).rsqrt()
    head = torch.from_numpy(checkpoint.dense(config.embeddings))
    logits = (stream.hidden * scale * norm) @ head.T
    np.testing.assert_allclose(logits.numpy(), np.stack(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("passed", range(4))
def test_a_fork_goes_its_own_way_from_any_stop(start, passed):
    stream, layers, *_ = start
    stream = Stream(stream.hidden, forks=True)
    stream.enter(layers[0])
    for _ in range(passed):
        stream.pass_through(layers[0])
    fork, before = stream.fork(layers[0]), stream.hidden.clone()
    assert torch.equal(fork.inputs, stream.inputs)
    for _ in range(passed, 4):
        fork.pass_through(layers[0])
    assert torch.equal(stream.hidden, before)
    assert not torch.equal(fork.hidden, before)
    for _ in range(passed, 4):
        stream.pass_through(layers[0])
    assert torch.equal(stream.hidden, fork.hidden)


@pytest.mark.parametrize(("count", "length"), [(1, 8), (100, 1024), (3, 2 * BATCH_TOKENS)])
def test_batches_are_whole_windows_of_about_the_same_tokens(count, length):
    windows = torch.arange(count)[:, None].expand(count, length)
    found = list(batches(windows))
    assert torch.equal(torch.cat(found), windows)
    assert all(len(batch) == 1 or batch.numel() <= BATCH_TOKENS for batch in found)
    assert len(found) <= 1 + count * length // BATCH_TOKENS * 2
