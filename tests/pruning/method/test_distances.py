"""Compiled distances are those of torch, for counts that fill neither panel nor quad."""

import pytest
import torch

from tvm_c4n.pruning.method.distances import distances


@pytest.mark.parametrize(("count", "groups", "rows"), [(1, 1, 1), (7, 17, 3), (48, 48, 256)])
def test_distances_are_sums_of_absolute_differences(count, groups, rows):
    generator = torch.Generator().manual_seed(rows)
    left, right = (torch.randn(n, rows, generator=generator) for n in (count, groups))
    expected = (left[:, None] - right).double().abs().sum(-1)
    torch.testing.assert_close(distances(left, right).double(), expected, rtol=1e-5, atol=1e-5)
