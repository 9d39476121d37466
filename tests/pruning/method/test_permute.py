"""Orders keep more, and a model in another order is the same model."""

from itertools import permutations

import numpy as np
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.calibration.layer import logits
from tvm_c4n.pruning.method import permute
from tvm_c4n.pruning.method.permute import Permuted, find_order, removal_scores


def lost(scores, order, removed):
    groups = scores[:, order].reshape(len(scores), -1, 4).sort(-1).values
    return float(groups[..., :removed].sum())


def test_the_best_order_of_eight_columns_is_found():
    scores = torch.from_numpy(np.random.default_rng(0).exponential(size=(5, 8)))
    for removed in (1, 2, 3):
        order = find_order(scores, removed, seed=0)
        assert sorted(order.tolist()) == list(range(8))
        best = min(lost(scores, list(p), removed) for p in permutations(range(8)) if p[0] == 0)
        assert lost(scores, order, removed) <= 1.02 * best


def test_more_rounds_never_lose_more_and_the_seed_decides():
    scores = torch.from_numpy(np.random.default_rng(1).exponential(size=(30, 64)))
    found = [lost(scores, find_order(scores, 2, 3, iterations=r), 2) for r in (0, 1, 5, 40)]
    assert found[0] == lost(scores, torch.arange(64), 2)
    assert found == sorted(found, reverse=True) and found[-1] < 0.95 * found[0]
    assert torch.equal(find_order(scores, 2, 3), find_order(scores, 2, 3))


def test_many_groups_exchange_columns_by_parts(monkeypatch):
    scores = torch.from_numpy(np.random.default_rng(1).exponential(size=(30, 64)))
    whole = lost(scores, find_order(scores, 2, 3), 2)
    monkeypatch.setattr(permute, "EXCHANGING_GROUPS", 5)
    order = find_order(scores, 2, 3)
    assert sorted(order.tolist()) == list(range(64))
    before = lost(scores, torch.arange(64), 2)
    assert before - lost(scores, order, 2) > 0.8 * (before - whole)


def test_distances_of_a_gpu_are_the_compiled_ones(monkeypatch):
    scores = torch.from_numpy(np.random.default_rng(1).exponential(size=(30, 64)))
    expected = find_order(scores.float(), 2, 3)
    monkeypatch.setattr(permute, "on_cpu", lambda tensor: False)
    assert torch.equal(find_order(scores.float(), 2, 3), expected)


def test_scores_are_the_losses_of_single_weights(problem):
    weight, hessian = problem(3, 8)
    level = 0.01 * hessian.diagonal().mean() * torch.eye(8)
    expected = weight.square() / torch.linalg.inv(hessian + level).diagonal()
    found = removal_scores(weight, hessian, 0.01)
    torch.testing.assert_close(found, expected / expected.mean())


def test_a_permuted_model_computes_the_same(small_model):
    source = open_checkpoint(small_model)
    config = describe_model(source.config)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randperm(config.d_model, generator=generator)
    inner = torch.randperm(64, generator=generator)
    orders = {"hidden": hidden, "backbone.layers.1.mixer.inner": inner}
    other = Permuted(source, config, orders)
    name = config.projection(1, "out_proj")
    expected = source.dense(name)[hidden.numpy()][:, inner.numpy()]
    np.testing.assert_array_equal(other.dense(name), expected)
    ids = np.random.default_rng(2).integers(0, config.vocab_size, (2, 24))
    torch.testing.assert_close(logits(other, ids), logits(source, ids), atol=1e-4, rtol=1e-4)
