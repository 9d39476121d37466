"""Sums of activations are the products that they say, in batches too."""

import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.calibration.statistics import gram, product


def test_gram_in_batches_is_the_product(monkeypatch):
    inputs = torch.randn(6, 50, 12, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("tvm_c4n.pruning.calibration.statistics.BATCH_TOKENS", 64)
    rows = inputs.flatten(0, 1).double()
    found = gram(inputs.split(4))
    torch.testing.assert_close(found.double(), rows.T @ rows, rtol=1e-5, atol=1e-4)
    assert torch.equal(found, found.T)


def test_infinite_activations_are_refused():
    with pytest.raises(C4nError, match="not finite"):
        gram([torch.full((1, 2, 4), float("inf"))])


def test_products_of_two_activations_in_batches(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(6, 50, n, generator=generator) for n in (5, 12))
    monkeypatch.setattr("tvm_c4n.pruning.calibration.statistics.BATCH_TOKENS", 64)
    found = product(zip(left.split(4), right.split(4), strict=True))
    expected = left.flatten(0, 1).double().T @ right.flatten(0, 1).double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
