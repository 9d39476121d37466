"""The compiled scan has the values and the gradients of the steps in float64."""

import pytest
import torch
import torch.nn.functional as F

from tvm_c4n.healing.compiled_scan import CHUNK, CompiledScan
from tvm_c4n.healing.scan import scan_by_steps, selective_scan


# Vectors of 16 channels, of 4 and of one; whole chunks of time, a part of one and more of them.
@pytest.mark.parametrize(("channels", "tokens"), [(32, 2 * CHUNK), (20, CHUNK + 3), (5, 3)])
def test_values_and_gradients_are_those_of_the_steps(channels, tokens):
    generator = torch.Generator().manual_seed(0)
    states, windows = 4, 3
    x, dt = torch.randn(2, windows, tokens, channels, generator=generator)
    bias = torch.randn(channels, generator=generator)
    a = -torch.rand(states, channels, generator=generator) * 4
    bc = torch.randn(windows, tokens, 2 * states, generator=generator)
    slope = torch.randn(windows, tokens, channels, generator=generator)
    found, gradients = [], []
    for scan, dtype in ((selective_scan, torch.float32), (scan_by_steps, torch.float64)):
        inputs = [v.detach().to(dtype).requires_grad_() for v in (x, dt, bias, a, bc)]
        y = scan(*inputs)
        (y * slope.to(dtype)).sum().backward()
        found.append(y.detach().double())
        gradients.append([v.grad.double() for v in inputs])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    for mine, exact in zip(*gradients, strict=True):
        assert float((mine - exact).norm() / exact.norm()) < 1e-5


def test_a_gradient_that_is_not_contiguous_is_read_right():
    """As of a sum, whose gradient is one number in all places."""
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(1))
    a, bc = -torch.ones(4, 16), torch.ones(2, 9, 8)
    found = []
    for times in (1.0, torch.ones(2, 9, 16)):
        given = x.clone().requires_grad_()
        (CompiledScan.apply(given, F.softplus(x), a, bc) * times).sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(*found)
