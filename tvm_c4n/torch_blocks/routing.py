"""Which tokens each expert is given, and what of its results goes to each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Routing:
    """Pairs of a token and one of its experts, ordered by expert, then by token.

    Attributes
    ----------
    tokens : (pairs,) int64
        The token of each pair, counted over all windows.
    shares : (pairs,) float32
        What its result counts in the token's sum.
    counts : tuple of int
        Pairs of each expert.
    """

    tokens: Tensor
    shares: Tensor
    counts: tuple[int, ...]

    @classmethod
    def of(cls, logits: Tensor, chosen: int) -> Routing:
        """Choose the experts with the highest logits (tokens, experts) for each token."""
        best, experts = logits.topk(chosen, dim=-1)
        order = experts.flatten().argsort(stable=True)
        counts = torch.bincount(experts.flatten(), minlength=logits.shape[-1])
        shares = best.softmax(-1).flatten()[order]
        return cls(order // chosen, shares, tuple(counts.tolist()))

    def of_tokens(self, values: Tensor) -> Tensor:
        """Return the rows of values of tokens (b, t, n) for each pair; those of pairs stay."""
        return values if values.dim() == 2 else values.flatten(0, 1)[self.tokens]

    def of_expert(self, values: Tensor, expert: int) -> Tensor:
        """Return the rows of an expert's pairs, of values of tokens (b, t, n) or of pairs."""
        start = sum(self.counts[:expert])
        pairs = slice(start, start + self.counts[expert])
        return values[pairs] if values.dim() == 2 else values.flatten(0, 1)[self.tokens[pairs]]

    def product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Multiply the inputs of each pair with the matrix of its expert.

        Parameters
        ----------
        inputs : (b, t, cols) or (pairs, cols)
            Of tokens, or of pairs.
        weight : (experts * rows, cols)

        Returns
        -------
        (pairs, rows)
        """
        matrices = weight.chunk(len(self.counts))
        products = [
            F.linear(self.of_expert(inputs, expert), matrix)
            for expert, matrix in enumerate(matrices)
        ]
        return torch.cat(products)

    def summed(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Return the stream (b, t, h) with each token's share of its pairs' values (pairs, h)."""
        flat = hidden.flatten(0, 1)
        weighted = values.to(flat.dtype) * self.shares[:, None].to(flat.dtype)
        return flat.index_add(0, self.tokens, weighted).view_as(hidden)
