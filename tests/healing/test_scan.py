"""The scan of training: values against the recurrence in numpy, gradient against differences."""

import numpy as np
import torch

from tvm_c4n.healing.scan import scan_by_steps, selective_scan


def test_the_scan_has_the_gradient_of_its_differences():
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    a = (-torch.rand(3, 4, generator=generator, dtype=torch.float64) * 4).requires_grad_()
    inputs = (draw(2, 5, 4), draw(2, 5, 4), draw(4), a, draw(2, 5, 6))
    assert torch.autograd.gradcheck(scan_by_steps, inputs)


def test_the_scan_is_the_recurrence():
    rng = np.random.default_rng(0)
    x, dt = rng.standard_normal((2, 2, 7, 4))
    bias, a = rng.standard_normal(4), -rng.random((3, 4)) * 4
    bc = rng.standard_normal((2, 7, 6))
    expected = np.zeros_like(x)
    for window in range(2):
        state = np.zeros((3, 4))
        for t in range(7):
            delta = np.log1p(np.exp(dt[window, t] + bias))
            b, c = bc[window, t, :3], bc[window, t, 3:]
            state = np.exp(delta * a) * state + np.outer(b, delta * x[window, t])
            expected[window, t] = c @ state
    inputs = [torch.from_numpy(array) for array in (x, dt, bias, a, bc)]
    np.testing.assert_allclose(selective_scan(*inputs).numpy(), expected, rtol=1e-10)
