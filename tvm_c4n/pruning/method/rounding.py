"""Rounding of pruned weights to float16, int8 or int4, with the other weights making up for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tvm_c4n.pruning.method.compensate import COLUMN_BLOCK
from tvm_c4n.pruning.products import times_transposed
from tvm_c4n.sparsity import group_scales
from tvm_c4n.sparsity.quantize import CODE_RANGE

BITS = {"int8": 8, "int4": 4}


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
        if dtype not in BITS:
            return cls(None, 0, 0)
        scales = group_scales(weight.float().numpy(), BITS[dtype], scale_group)
        return cls(torch.from_numpy(scales), BITS[dtype], scale_group)

    def steps(self, cols: int) -> Tensor | None:
        """Scale of each weight: (rows, cols) float32."""
        if self.scales is None:
            return None
        return self.scales.float().repeat_interleave(self.scale_group, dim=1)[:, :cols]

    def round(self, weight: Tensor, steps: Tensor | None) -> Tensor:
        """Round weights (rows, width) to nearest; ``steps`` are the same columns of `steps`."""
        if steps is None:
            return weight.to(torch.float16).to(weight.dtype)
        low, high = CODE_RANGE[self.bits]
        divisor = torch.where(steps == 0, torch.inf, steps)
        return (weight / divisor).round_().clamp_(low, high).mul_(steps)


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
        As in `compensate.refit`.
    current : (rows, cols)
        The refitted weights.
    grid : Grid
    passes : int

    Returns
    -------
    (rows, cols)
        On the grid, zero outside the mask.
    """
    # Transposed, so that a column lies in one piece: the loop is made of many short calls.
    w, kept = current.T.contiguous(), mask.T.to(current.dtype).contiguous()
    steps = grid.steps(len(w))
    units = None if steps is None else steps.T.contiguous()
    gradient = times_transposed(current - weight, hessian).T.contiguous()
    for _ in range(passes):
        moved = False
        for start in range(0, len(w), COLUMN_BLOCK):
            block = slice(start, min(start + COLUMN_BLOCK, len(w)))
            inside, local = gradient[block].clone(), hessian[block, block]
            change = torch.empty_like(inside)
            curvatures = local.diagonal().tolist()
            for i, (column, slope) in enumerate(zip(w[block], inside, strict=True)):
                best = torch.sub(column, slope, alpha=1 / curvatures[i])
                new = grid.round(best, None if units is None else units[start + i])
                new *= kept[start + i]
                torch.sub(new, column, out=change[i])
                inside[i + 1 :].addr_(local[i, i + 1 :], change[i])
                column.copy_(new)
            gradient.addmm_(hessian[:, block], change)
            moved = moved or bool(change.any())
        if not moved:
            break
    return w.T.contiguous()
