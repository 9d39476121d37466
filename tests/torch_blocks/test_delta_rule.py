"""The gated delta rule in chunks against one token after the other, in float64."""

import pytest
import torch

from tvm_c4n.torch_blocks.delta_rule import CHUNK, correct_in_chunks


@pytest.mark.parametrize("tokens", [1, CHUNK, CHUNK + 1, 3 * CHUNK - 5])
def test_chunks_change_nothing(tokens):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(2, tokens, 3, *shape, generator=generator, dtype=torch.float64)

    q, v, logs, beta = draw(5), draw(4), -draw().exp(), draw().sigmoid()
    k = torch.nn.functional.normalize(draw(5), dim=-1)
    found = correct_in_chunks(q, k, v, logs, beta)
    state = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    for t in range(tokens):
        state = logs[:, t].exp()[..., None, None] * state
        wanted = v[:, t] - torch.einsum("wkn,wknp->wkp", k[:, t], state)
        correction = beta[:, t, :, None] * wanted
        state = state + k[:, t, ..., None] * correction[:, :, None]
        torch.testing.assert_close(found[:, t], torch.einsum("wkn,wknp->wkp", q[:, t], state))


def test_strong_decays_give_finite_gradients():
    q, v = (torch.randn(1, 2 * CHUNK, 1, n, requires_grad=True) for n in (3, 2))
    k = torch.full((1, 2 * CHUNK, 1, 3), 3**-0.5, requires_grad=True)
    logs = torch.full((1, 2 * CHUNK, 1), -200.0, requires_grad=True)
    beta = torch.ones(1, 2 * CHUNK, 1, requires_grad=True)
    correct_in_chunks(q, k, v, logs, beta).square().sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v, logs, beta))
