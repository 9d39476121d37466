"""Mamba-2's scan in torch, in chunks of tokens (Dao and Gu 2024, section 6), with a gradient.

Within a chunk the outputs are a product of matrices; between chunks the state is carried on. With
s the running sum of the logarithms of a chunk's decays, and L = exp(s_t - s_j) for j <= t::

    y_t = sum_{j <= t} (C_t . B_j) L_tj delta_j x_j  +  exp(s_t) C_t H
    H'  = exp(s_end) H + sum_j exp(s_end - s_j) delta_j B_j x_j
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Tokens of a chunk: the matrices within one have 64 x 64 entries for each head.
CHUNK = 64


def scan_in_chunks(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Scan windows from a state of zeros.

    Parameters
    ----------
    x : (w, t, k, p)
        Windows, tokens, heads, channels of a head.
    delta : (w, t, k)
    a : (k,)
        Negative.
    b, c : (w, t, g, n)
        Heads of a group, next to each other, share them; k is a multiple of g.

    Returns
    -------
    (w, t, k, p)
    """
    tokens = x.shape[1]
    missing = -tokens % CHUNK
    if missing:  # tokens with a delta of 0 change no state
        x, b, c = (F.pad(v, (0, 0, 0, 0, 0, missing)) for v in (x, b, c))
        delta = F.pad(delta, (0, 0, 0, missing))
    x, delta, b, c = (v.unflatten(1, (-1, CHUNK)) for v in (x, delta, b, c))  # w m l ...
    per_group = x.shape[3] // b.shape[3]
    driven = delta[..., None] * x
    s = (delta * a).cumsum(2)  # w m l k
    # Step 1: within each chunk. Above the diagonal, where decays would grow, nothing is kept.
    keep = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=x.device).tril()
    gaps = s[:, :, :, None] - s[:, :, None]  # w m l j k
    decays = gaps.masked_fill(~keep[..., None], -torch.inf).exp()
    scores = torch.einsum("wmlgn,wmjgn->wmljg", c, b).repeat_interleave(per_group, -1)
    y = torch.einsum("wmljk,wmjkp->wmlkp", scores * decays, driven)
    # Step 2: what each chunk leaves, and what is left of the chunks before it.
    heads_b, heads_c = (v.repeat_interleave(per_group, 3) for v in (b, c))
    left = torch.einsum("wmlkn,wmlk,wmlkp->wmknp", heads_b, (s[:, :, -1:] - s).exp(), driven)
    # What a chunk's state is worth at the end of a later one: sums, not differences of long sums,
    # which would lose digits.
    chunks = left.shape[1]
    after = torch.ones(chunks, chunks, dtype=torch.bool, device=x.device).tril(-1)[..., None]
    between = s[:, :, None, -1].expand(-1, -1, chunks, -1).masked_fill(~after, 0).cumsum(1)
    worth = between.masked_fill(after.transpose(0, 1), -torch.inf).exp()  # w m j k
    states = torch.einsum("wmjk,wjknp->wmknp", worth, left)
    before = F.pad(states[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    # Step 3: what tokens see of the chunks before theirs.
    y = y + torch.einsum("wmlkn,wmlk,wmknp->wmlkp", heads_c, s.exp(), before)
    return y.flatten(1, 2)[:, :tokens]
