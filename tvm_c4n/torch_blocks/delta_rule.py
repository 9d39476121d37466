"""The gated delta rule in torch, in chunks of tokens, with a gradient.

With H the state before a chunk, s the running sum of the logarithms of its decays, and
L = exp(s_t - s_j) for j <= t, token t corrects the state by k_t c_t and reads o_t::

    c_t + beta_t sum_{j < t} L_tj (k_t . k_j) c_j  =  beta_t (v_t - exp(s_t) k_t H)
    o_t = exp(s_t) q_t H + sum_{j <= t} L_tj (q_t . k_j) c_j
    H'  = exp(s_end) H + sum_j exp(s_end - s_j) k_j c_j

The first line is a triangular system for each head of a chunk. It is solved for the terms with v
and with k, for all chunks at once; what is left to do one chunk after the other are products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Tokens of a chunk.
CHUNK = 64


def correct_in_chunks(q: Tensor, k: Tensor, v: Tensor, logs: Tensor, beta: Tensor) -> Tensor:
    """Read windows from a state of zeros.

    Parameters
    ----------
    q, k : (w, t, k, n)
        Windows, tokens, heads, channels of keys; keys have length one.
    v : (w, t, k, p)
    logs, beta : (w, t, k)
        Logarithms of the decays, and how much of what a key finds is corrected, 0 to 1.

    Returns
    -------
    (w, t, k, p)
    """
    tokens, width = q.shape[1], v.shape[-1]
    missing = -tokens % CHUNK  # tokens with a beta and a log of 0 change no state
    q, k, v = (F.pad(x, (0, 0, 0, 0, 0, missing)) for x in (q, k, v))
    logs, beta = (F.pad(x, (0, 0, 0, missing)) for x in (logs, beta))
    q, k, v, logs, beta = (
        x.unflatten(1, (-1, CHUNK)).transpose(2, 3) for x in (q, k, v, logs, beta)
    )  # w m k l ...
    s = logs.cumsum(-1)[..., None]
    # Above the diagonal, where decays would grow, nothing is kept.
    keep = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=q.device).tril()
    decays = (s - s.transpose(-1, -2)).masked_fill(~keep, -torch.inf).exp()
    # Step 1: the systems, whose diagonal is one, for what v asks for and what k finds in H.
    system = beta[..., None] * decays * (k @ k.transpose(-1, -2))
    known = torch.cat([v, s.exp() * k], -1) * beta[..., None]
    solved = torch.linalg.solve_triangular(system, known, upper=False, unitriangular=True)
    asked, found = solved.split([width, k.shape[-1]], -1)
    # Step 2: one chunk after the other.
    within, across = decays * (q @ k.transpose(-1, -2)), s.exp() * q
    left, rest = (s[..., -1:, :] - s).exp() * k, s[..., -1:, :].exp()
    state, out = None, []
    for chunk in range(v.shape[1]):
        c = asked[:, chunk] if state is None else asked[:, chunk] - found[:, chunk] @ state
        y, new = within[:, chunk] @ c, left[:, chunk].transpose(-1, -2) @ c
        if state is not None:
            y, new = y + across[:, chunk] @ state, new + rest[:, chunk] * state
        out.append(y)
        state = new
    return torch.stack(out, 1).transpose(2, 3).flatten(1, 2)[:, :tokens]
