"""The weight in training is the weight in the folder."""

import numpy as np
import pytest
import torch

from tvm_c4n.healing.stored import StoredWeight
from tvm_c4n.sparsity import DTYPES, INT_BITS, StackedWeight, from_dense, mask_from_scores


def stored(removed, dtype, rows=6, cols=128, seed=0):
    values = np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)
    mask = mask_from_scores(np.abs(values), removed) if removed else None
    return StoredWeight(from_dense(values, removed, dtype, mask=mask, scale_group=64))


CASES = [(n, dtype) for n in range(4) for dtype in DTYPES]


@pytest.mark.parametrize(("removed", "dtype"), CASES)
def test_what_the_model_sees_is_what_is_written(removed, dtype):
    weight = stored(removed, dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # as after some training: off the grid, scales moved
        weight.weight += 0.1 * torch.randn(weight.weight.shape, generator=generator)
        if dtype in INT_BITS:
            weight.change += 0.1 * torch.randn(weight.change.shape, generator=generator)
    packed = weight.packed()
    packed.check()
    assert (packed.removed, packed.dtype) == (removed, dtype)
    np.testing.assert_array_equal(weight().detach().numpy(), packed.dense())


def test_the_gradient_passes_the_rounding_and_reaches_removed_weights():
    weight = stored(2, "int4")
    slope = torch.randn(6, 128, generator=torch.Generator().manual_seed(2))
    (weight() * slope).sum().backward()
    step = weight.scales().detach().repeat_interleave(64, dim=1)
    codes = (weight.weight * weight.mask / step).detach()
    inside = (codes >= -8) & (codes <= 7)
    torch.testing.assert_close(weight.weight.grad, torch.where(inside, slope, 0.0))
    # Of the scale: round(v) - v inside the range, its end outside (LSQ, equation 3).
    slopes = torch.where(inside, codes.round() - codes, codes.clamp(-8, 7))
    expected = (slopes * slope * step).unflatten(1, (2, 64)).sum(-1)
    torch.testing.assert_close(weight.change.grad, expected, rtol=1e-4, atol=1e-5)


def test_two_bits_pass_gradients_as_others_do():
    weight = stored(2, "int2")
    slope = torch.randn(6, 128, generator=torch.Generator().manual_seed(2))
    (weight() * slope).sum().backward()
    step = weight.scales().detach().repeat_interleave(64, dim=1)
    codes = (weight.weight * weight.mask / step).detach()
    inside = codes.abs() <= 3
    torch.testing.assert_close(weight.weight.grad, torch.where(inside, slope, 0.0))
    odd = 2 * torch.floor(codes / 2) + 1
    slopes = torch.where(inside, (odd.clamp(-3, 3) - codes), codes.clamp(-3, 3)) * weight.mask
    expected = (slopes * slope * step).unflatten(1, (2, 64)).sum(-1)
    torch.testing.assert_close(weight.change.grad, expected, rtol=1e-4, atol=1e-5)


EACH = (2, 0, 3)


@pytest.mark.parametrize("dtype", ["int4", "int8", "float16"])
def test_experts_that_differ_are_written_as_they_are_seen(dtype):
    parts = [stored(n, dtype, seed=n).packed() for n in EACH]
    weight = StoredWeight(StackedWeight.of(parts))
    with torch.no_grad():
        weight.weight += 0.1 * torch.randn(18, 128, generator=torch.Generator().manual_seed(1))
    packed = weight.packed()
    packed.check()
    assert packed.removed == EACH
    np.testing.assert_array_equal(weight().detach().numpy(), packed.dense())


def test_masks_of_experts_that_differ_are_chosen_anew_by_each_n():
    weight = StoredWeight(StackedWeight.of([stored(n, "int8", seed=n).packed() for n in EACH]))
    with torch.no_grad():
        weight.weight.copy_(torch.arange(1.0, 129.0).expand(18, 128))
    weight.reselect(torch.ones(18, 128), decay=0.0)
    for n, mask in zip(EACH, weight.mask.chunk(3), strict=True):
        assert torch.equal(mask, (torch.arange(128) % 4 >= n).expand(6, 128))


def test_a_scale_of_zero_can_grow():
    weight = StoredWeight(from_dense(np.zeros((2, 64), np.float32), 0, "int4", scale_group=64))
    with torch.no_grad():
        weight.weight.fill_(1.0)
    assert torch.isfinite(weight()).all()
    assert (weight() != 0).all()


def test_reselection_keeps_what_matters_and_shrinks_the_rest():
    weight = stored(2, "int4")
    before = weight.weight.detach().clone()
    gone = ~weight.mask.clone()
    row, col = (int(i[0]) for i in torch.nonzero(gone, as_tuple=True))
    with torch.no_grad():
        weight.weight[row, col] = 10.0
    weight.reselect(torch.ones_like(before), decay=0.5)
    assert weight.mask[row, col]
    assert weight.weight[row, col] == 5.0
    assert (weight.mask.unflatten(1, (-1, 4)).sum(-1) == 2).all()
    weight.packed().check()


def test_reselection_leaves_dense_weights_alone():
    weight = stored(0, "int8")
    weight.reselect(torch.ones(6, 128), decay=0.5)
    assert weight.mask.all()
