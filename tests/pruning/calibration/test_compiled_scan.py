"""The compiled scan equals the definition, wherever windows lie in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tvm_c4n.ops.selective_scan import oracle
from tvm_c4n.pruning.calibration.compiled_scan import selective_scan


# 16 channels and 4 tokens fill cache lines; 5 channels and 3 tokens leave the second window between
# two, where the kernel could not read it.
@pytest.mark.parametrize(("channels", "tokens"), [(16, 4), (5, 3), (70, 1)])
def test_every_window_equals_the_oracle(channels: int, tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, dt, z = torch.randn(3, 3, tokens, channels, generator=generator)
    bc = torch.randn(3, tokens, 2 * 4, generator=generator)
    a = -torch.rand(4, channels, generator=generator)
    bias, skip = torch.randn(2, channels, generator=generator)
    given = [value.clone() for value in (x, dt, bc, z, a, bias, skip)]
    found = selective_scan(x, dt, bc, z, a, bias, skip)
    for window in range(3):
        b, c = bc[window].numpy().reshape(tokens, 2, 4).swapaxes(0, 1)
        delta = (dt[window] + bias).numpy()
        expected, _ = oracle(
            delta, x[window].numpy(), b, c, z[window].numpy(), a.numpy(), skip.numpy(),
            np.zeros((4, channels)),
        )  # fmt: skip
        np.testing.assert_allclose(found[window].numpy(), expected, rtol=1e-4, atol=1e-5)
    for value, before in zip((x, dt, bc, z, a, bias, skip), given, strict=True):
        assert torch.equal(value, before)
