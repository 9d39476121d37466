"""The calibration model agrees with the oracle, however its work is cut."""

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.pruning.calibration import ops
from tvm_c4n.pruning.calibration.layer import logits


@pytest.mark.parametrize("tokens", [1, 3, 70])
def test_logits_equal_the_oracle(small_model, tokens):
    checkpoint = open_checkpoint(small_model)
    config = describe_model(checkpoint.config)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (3, tokens))
    found = logits(checkpoint, ids)
    for row in range(3):
        oracle = Reference(config, checkpoint.dense).prefill(ids[row])
        np.testing.assert_allclose(found[row].numpy(), oracle, atol=2e-4)


def test_the_embedded_model_equals_the_oracle():
    checkpoint = open_checkpoint("mamba-19m")
    config = describe_model(checkpoint.config)
    ids = np.random.default_rng(1).integers(0, config.vocab_size, 24)
    oracle = Reference(config, checkpoint.dense).prefill(ids)
    np.testing.assert_allclose(logits(checkpoint, ids[None])[0].numpy(), oracle, atol=1e-3)


def test_batches_and_threads_change_nothing(small_model, monkeypatch):
    checkpoint = open_checkpoint(small_model)
    ids = np.random.default_rng(0).integers(0, 96, (5, 12))
    together = logits(checkpoint, ids)
    torch.set_num_threads(2)
    monkeypatch.setattr(ops, "BATCH_TOKENS", 1)
    torch.testing.assert_close(logits(checkpoint, ids), together)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
