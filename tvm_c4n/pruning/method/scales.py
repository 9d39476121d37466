"""Scales of integer weights, chosen where the weights are, by what an error costs.

Without statistics `tvm_c4n.sparsity.group_scales` chooses them, on the CPU; the same here in torch
for a GPU, where that search would take longer than all the rest of a projection.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.sparsity import CODES, FLOAT16_MAX, SCALE_DIVISORS, Codes, as_float32, group_scales

# Added to the diagonal of the equations of a refit, as a fraction of its mean.
_RIDGE = 1e-6


def nearest_codes(multiples: Tensor, codes: Codes) -> Tensor:
    """Round multiples of scales to the nearest codes, in place."""
    if codes.step == 1:
        return multiples.round_().clamp_(codes.low, codes.high)
    found = multiples.sub_(codes.offset).div_(codes.step).round_().mul_(codes.step)
    return found.add_(codes.offset).clamp_(codes.low, codes.high)


def choose_scales(
    weight: Tensor, bits: int, scale_group: int, importance: Tensor | None = None
) -> Tensor:
    """Choose the scale of each row and ``scale_group`` columns; see `group_scales`.

    Parameters
    ----------
    weight : (rows, cols) float
        Zero where removed.
    bits : {8, 4, 3, 2}
    scale_group : int
    importance : (cols,) float32, optional
        What a squared error costs in each column; not for 8 bits, which lose next to nothing.

    Returns
    -------
    (rows, ceil(cols / scale_group)) float16

    Raises
    ------
    C4nError
        A weight is not finite or overflows float16.
    """
    weight = weight.float()
    if on_cpu(weight) and (importance is None or bits == 8):
        return torch.from_numpy(group_scales(weight.numpy(), bits, scale_group))
    if not bool((weight.abs() <= FLOAT16_MAX).all()):
        as_float32(weight.cpu().numpy(), FLOAT16_MAX)  # says which one
    grouped = _grouped(weight, scale_group)
    if bits == 8:
        return _int8_scales(grouped)
    costs = torch.ones_like(weight[0]) if importance is None else importance
    costs = _grouped(costs[None], scale_group)
    return _searched_scales(grouped, CODES[bits], SCALE_DIVISORS[bits], costs)


def refit_scales(
    weight: Tensor, hessian: Tensor, codes: Tensor, scales: Tensor, scale_group: int
) -> Tensor:
    """Return the scales of least loss for given codes: least squares over all groups of a row.

    The loss of row w is ``(w - s q) H (w - s q)^T``, s q being the codes times their scales. Its
    normal equations have a number for each scale: ``A s = b``, with ``A[g, h]`` the sum of
    ``q_i H_ij q_j`` over the columns i of group g and j of group h, and ``b[g]`` that of
    ``q_i (w H)_i``.

    Parameters
    ----------
    weight : (rows, cols) float32
        What is approximated.
    hessian : (cols, cols) float32
    codes : (rows, cols) float32
        0 where removed.
    scales : (rows, groups) float16
        Those that the codes were made with; a group without codes keeps its own.
    scale_group : int

    Returns
    -------
    (rows, groups) float16
    """

    def sums(products: Tensor) -> Tensor:
        """Add up the columns of each group."""
        return _grouped(products, scale_group).sum(2)

    right = sums(codes * (weight @ hessian))
    left = torch.empty(*scales.shape, scales.shape[1], device=weight.device)
    for number, start in enumerate(range(0, weight.shape[1], scale_group)):
        own = slice(start, start + scale_group)
        left[:, number] = sums(codes[:, own] @ hessian[own] * codes)
    diagonal = left.diagonal(dim1=1, dim2=2)
    empty = diagonal <= 0
    diagonal += _RIDGE * diagonal.mean(1, keepdim=True) + empty
    found = torch.linalg.solve(left, right).half()
    return torch.where(empty | ~found.isfinite(), scales, found)


def _grouped(matrix: Tensor, size: int) -> Tensor:
    """View (rows, cols) as (rows, groups, size), zeros filling the last one."""
    return F.pad(matrix, (0, -matrix.shape[1] % size)).unflatten(1, (-1, size))


def _int8_scales(grouped: Tensor) -> Tensor:
    largest = grouped.abs().amax(2)
    scales = (largest / 127).half()
    clips = largest > scales.float() * 127.5
    # The next float16 above a positive one has the next bits.
    return torch.where(clips, (scales.view(torch.int16) + 1).view(torch.float16), scales)


def _searched_scales(
    grouped: Tensor, codes: Codes, divisors: tuple[float, ...], costs: Tensor
) -> Tensor:
    largest = grouped.gather(2, grouped.abs().argmax(2, keepdim=True))[..., 0]
    best, least = torch.zeros_like(largest), torch.full_like(largest, torch.inf)
    kept = grouped != 0

    def rounded(scales: Tensor) -> Tensor:
        """Round to codes; what is removed to 0, though it may be none."""
        found = nearest_codes(
            grouped / torch.where(scales == 0, torch.inf, scales)[..., None], codes
        )
        return found.mul_(kept) if codes.offset else found

    def offer(candidate: Tensor) -> None:
        scales = candidate.half().float()
        error = rounded(scales).mul_(scales[..., None]).sub_(grouped).square_().mul_(costs).sum(2)
        better = error < least  # of equal candidates the first stays
        best.copy_(torch.where(better, scales, best))
        least.copy_(torch.where(better, error, least))

    for divisor in divisors:
        offer(largest / divisor)
    found = rounded(best)  # least squares for the codes of the best candidate
    power, fit = (found.square() * costs).sum(2), (found * grouped * costs).sum(2)
    offer(torch.where(power > 0, fit / torch.where(power > 0, power, 1), best))
    return best.half()
