"""Rounding of pruned weights to float16 or integers, with the other weights making up for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tvm_c4n.pruning.method.loops import round_columns
from tvm_c4n.pruning.method.scales import choose_scales, nearest_codes, refit_scales
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import CODES, INT_BITS


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
    def of(
        cls, weight: Tensor, dtype: str, scale_group: int, importance: Tensor | None = None
    ) -> Grid:
        """Choose the scales for weights (rows, cols) that are zero where removed.

        ``importance`` (cols,) says what a squared error costs in each column.
        """
        if dtype not in INT_BITS:
            return cls(None, 0, 0)
        bits = INT_BITS[dtype]
        return cls(choose_scales(weight, bits, scale_group, importance), bits, scale_group)

    def refitted(self, weight: Tensor, hessian: Tensor, current: Tensor) -> Grid:
        """Return the grid whose scales fit `weight` best with the codes of `current`."""
        steps, scales = self.steps(weight.shape[1]), self.scales
        assert steps is not None and scales is not None  # noqa: S101 - float16 has none
        codes = (current / torch.where(steps == 0, torch.inf, steps)).round_()
        return replace(self, scales=refit_scales(weight, hessian, codes, scales, self.scale_group))

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
        divisor = torch.where(steps == 0, torch.inf, steps)
        return nearest_codes(weight / divisor, CODES[self.bits]).mul_(steps)


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
        Of an integer dtype.

    Returns
    -------
    (rows, cols)
        On the grid, zero outside the mask.
    """
    coupling = factor / factor.diagonal()[:, None]
    gradient, rates = torch.zeros_like(weight), torch.ones_like(factor[0])
    codes = CODES[grid.bits]
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
        Of an integer dtype.
    passes : int

    Returns
    -------
    (rows, cols)
        On the grid, zero outside the mask.
    """
    gradient, rates = times_transposed(current - weight, hessian), hessian.diagonal().reciprocal()
    units, codes = grid.units(mask), CODES[grid.bits]
    return round_columns(
        current, gradient, units, hessian, rates, codes, descends=True, passes=passes
    )
