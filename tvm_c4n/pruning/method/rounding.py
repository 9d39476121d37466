"""Rounding of pruned weights to float16, int8 or int4, with the other weights making up for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tvm_c4n.pruning.method.loops import round_columns
from tvm_c4n.pruning.method.scales import choose_scales
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import CODE_RANGE, INT_BITS


@dataclass(frozen=True)
class Grid:
    """The values that a stored weight can have.

    Attributes
    ----------
    scales : (rows, ceil(cols / scale_group)) float16 or None
        None for float16 weights.
    bits, scale_group : int
        0 for float16 weights.
    """

    scales: Tensor | None
    bits: int
    scale_group: int

    @classmethod
    def of(cls, weight: Tensor, dtype: str, scale_group: int) -> Grid:
        """Choose the scales for weights (rows, cols) that are zero where removed."""
        if dtype not in INT_BITS:
            return cls(None, 0, 0)
        bits = INT_BITS[dtype]
        return cls(choose_scales(weight, bits, scale_group), bits, scale_group)

    def steps(self, cols: int) -> Tensor | None:
        """Scale of each weight: (rows, cols) float32."""
        if self.scales is None:
            return None
        return self.scales.float().repeat_interleave(self.scale_group, dim=1)[:, :cols]

    def units(self, mask: Tensor) -> Tensor:
        """Scale of each weight (rows, cols) float32; zero where it is removed."""
        steps = self.steps(mask.shape[1])
        assert steps is not None  # noqa: S101 - float16 has none
        return steps * mask

    def round(self, weight: Tensor, steps: Tensor | None) -> Tensor:
        """Round weights (rows, width) to nearest; ``steps`` are the same columns of `steps`."""
        if steps is None:
            return weight.to(torch.float16).to(weight.dtype)
        low, high = CODE_RANGE[self.bits]
        divisor = torch.where(steps == 0, torch.inf, steps)
        return (weight / divisor).round_().clamp_(low, high).mul_(steps)


def round_feeding_back(weight: Tensor, factor: Tensor, mask: Tensor, grid: Grid) -> Tensor:
    """Round column by column; those on the right make up for each error, as for a removed weight.

    Parameters
    ----------
    weight : (rows, cols) float32
    factor : (cols, cols)
        From `inverse_factor`, in the weight's dtype.
    mask : (rows, cols) bool
        What is removed is rounded to zero.
    grid : Grid
        Of int8 or int4.

    Returns
    -------
    (rows, cols)
        On the grid, zero outside the mask.
    """
    coupling = factor / factor.diagonal()[:, None]
    gradient, rates = torch.zeros_like(weight), torch.ones_like(factor[0])
    codes = CODE_RANGE[grid.bits]
    return round_columns(weight, gradient, grid.units(mask), coupling, rates, codes, descends=False)


def round_descending(
    weight: Tensor, hessian: Tensor, mask: Tensor, current: Tensor, grid: Grid, passes: int = 3
) -> Tensor:
    """Round with coordinate descent: every weight in turn to the best value given all others.

    In the first pass the weights on the right are not rounded yet, so that each weight takes up
    the errors of those before it; the later passes only ever lower the loss
    ``(w - w0) H (w - w0)^T`` (as QuantEase does; Behdin et al., 2023). Unlike error feedback
    through H^-1, nothing is ever moved into removed weights.

    Parameters
    ----------
    weight, hessian, mask
        As in `compensate.refit`; float32.
    current : (rows, cols)
        The refitted weights.
    grid : Grid
        Of int8 or int4.
    passes : int

    Returns
    -------
    (rows, cols)
        On the grid, zero outside the mask.
    """
    gradient, rates = times_transposed(current - weight, hessian), hessian.diagonal().reciprocal()
    units, codes = grid.units(mask), CODE_RANGE[grid.bits]
    return round_columns(
        current, gradient, units, hessian, rates, codes, descends=True, passes=passes
    )
