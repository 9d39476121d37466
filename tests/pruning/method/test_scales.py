"""The scales that a GPU chooses, here on the CPU, are those of `group_scales`."""

import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.method import scales
from tvm_c4n.sparsity import group_scales


@pytest.fixture
def weight(monkeypatch):
    monkeypatch.setattr(scales, "on_cpu", lambda tensor: False)
    found = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    found *= torch.logspace(-8, 3, 40)[:, None]  # down to subnormal scales
    found[3] = 0
    return found


@pytest.mark.parametrize("bits", [8, 4])
def test_the_same_scales(weight, bits):
    found = scales.choose_scales(weight, bits, 32)
    assert found.dtype == torch.float16
    assert torch.equal(found, torch.from_numpy(group_scales(weight.numpy(), bits, 32)))


def test_what_is_no_number_is_named(weight):
    weight[2, 5] = torch.inf
    with pytest.raises(C4nError, match="row 2, col 5 is not finite"):
        scales.choose_scales(weight, 4, 32)
