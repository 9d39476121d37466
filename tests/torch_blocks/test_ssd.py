"""The scan in chunks against one token after the other, in float64."""

import pytest
import torch

from tvm_c4n.torch_blocks.ssd import CHUNK, scan_in_chunks


@pytest.mark.parametrize("tokens", [1, CHUNK, CHUNK + 1, 3 * CHUNK - 5])
@pytest.mark.parametrize("groups", [1, 2])
def test_chunks_change_nothing(tokens, groups):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, delta, a = draw(2, tokens, 4, 3), draw(2, tokens, 4).exp(), -draw(4).exp()
    b, c = draw(2, tokens, groups, 5), draw(2, tokens, groups, 5)
    found = scan_in_chunks(x, delta, a, b, c)
    state = torch.zeros(2, 4, 5, 3, dtype=torch.float64)
    for t in range(tokens):
        b_t, c_t = (v[:, t].repeat_interleave(4 // groups, 1)[..., None] for v in (b, c))
        driven = b_t * (delta[:, t, :, None] * x[:, t])[:, :, None]
        state = (delta[:, t] * a).exp()[..., None, None] * state + driven
        torch.testing.assert_close(found[:, t], (c_t * state).sum(2))


def test_strong_decays_give_finite_gradients():
    x = torch.randn(1, 2 * CHUNK, 1, 2, requires_grad=True)
    delta = torch.full((1, 2 * CHUNK, 1), 50.0, requires_grad=True)
    b = c = torch.ones(1, 2 * CHUNK, 1, 1)
    scan_in_chunks(x, delta, torch.tensor([-4.0]), b, c).square().sum().backward()
    assert x.grad.isfinite().all() and delta.grad.isfinite().all()
