"""What is recorded is what the function does; on the CPU it is called."""

import pytest
import torch

from tvm_c4n.pruning.method.recorded import Recorded


def add(total, calls, by):
    total.add_(by)
    calls.add_(1)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason="needs a GPU that torch can use"
            ),
        ),
    ],
)
def test_the_first_tensors_change_at_every_call(device):
    steps = Recorded(add, 2)
    for size in (3, 5, 3):
        whole, calls = torch.zeros(2 * size, device=device), torch.zeros(1, device=device)
        for by in (1.0, 2.5):
            steps(whole[size:], calls, torch.full((size,), by, device=device))
        assert whole.tolist() == size * [0] + size * [3.5]
        assert calls.tolist() == [2]
