"""Products of activations, summed over all calibration tokens."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.calibration.ops import BATCH_TOKENS
from tvm_c4n.pruning.products import gram_product, transposed_product


def product(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum ``A^T B`` over all tokens of pairs of activations.

    Parameters
    ----------
    pairs : iterable of ((b, t, rows), (b, t, cols)) float32

    Returns
    -------
    (rows, cols) float32
        Summed over batches of `BATCH_TOKENS` tokens in float64.

    Raises
    ------
    C4nError
        An activation is not finite.
    """
    total = torch.zeros((), dtype=torch.float64)
    for left, right in pairs:
        parts = (side.flatten(0, 1).split(BATCH_TOKENS) for side in (left, right))
        for a, b in zip(*parts, strict=True):
            total = total + transposed_product(a, b).double()
    return _finite(total)


def gram(inputs: Iterable[Tensor]) -> Tensor:
    """``X^T X`` of a projection's inputs, batches of (b, t, cols); see `product`. Symmetric."""
    total = torch.zeros((), dtype=torch.float64)
    for batch in inputs:
        for part in batch.flatten(0, 1).split(BATCH_TOKENS):
            total = total + gram_product(part).double()
    return _finite(total)


def _finite(total: Tensor) -> Tensor:
    """Return a sum as float32."""
    result = total.float()
    if not bool(torch.isfinite(result).all()):
        raise C4nError("the model's activations are not finite on the calibration text")
    return result
