"""Scales of int8 and int4 weights, chosen where the weights are.

On the CPU `tvm_c4n.sparsity.group_scales` chooses them; the same in torch for a GPU, where its
search for int4 would take longer than all the rest of a projection.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.sparsity import CODE_RANGE, FLOAT16_MAX, INT4_DIVISORS, as_float32, group_scales


def choose_scales(weight: Tensor, bits: int, scale_group: int) -> Tensor:
    """Choose the scale of each row and ``scale_group`` columns; see `group_scales`.

    Parameters
    ----------
    weight : (rows, cols) float
        Zero where removed.
    bits : {8, 4}
    scale_group : int

    Returns
    -------
    (rows, ceil(cols / scale_group)) float16

    Raises
    ------
    C4nError
        A weight is not finite or overflows float16.
    """
    weight = weight.float()
    if on_cpu(weight):
        return torch.from_numpy(group_scales(weight.numpy(), bits, scale_group))
    if not bool((weight.abs() <= FLOAT16_MAX).all()):
        as_float32(weight.cpu().numpy(), FLOAT16_MAX)  # says which one
    padded = F.pad(weight, (0, -weight.shape[1] % scale_group))
    grouped = padded.unflatten(1, (-1, scale_group))
    return _int8_scales(grouped) if bits == 8 else _int4_scales(grouped)


def _int8_scales(grouped: Tensor) -> Tensor:
    largest = grouped.abs().amax(2)
    scales = (largest / 127).half()
    clips = largest > scales.float() * 127.5
    # The next float16 above a positive one has the next bits.
    return torch.where(clips, (scales.view(torch.int16) + 1).view(torch.float16), scales)


def _int4_scales(grouped: Tensor) -> Tensor:
    largest = grouped.gather(2, grouped.abs().argmax(2, keepdim=True))[..., 0]
    best, least = torch.zeros_like(largest), torch.full_like(largest, torch.inf)

    def offer(candidate: Tensor) -> None:
        scales = candidate.half().float()
        error = (_codes(grouped, scales) * scales[..., None] - grouped).square().sum(2)
        better = error < least  # of equal candidates the first stays
        best.copy_(torch.where(better, scales, best))
        least.copy_(torch.where(better, error, least))

    for divisor in INT4_DIVISORS:
        offer(largest / divisor)
    codes = _codes(grouped, best)  # least squares for the codes of the best candidate
    power, fit = codes.square().sum(2), (codes * grouped).sum(2)
    offer(torch.where(power > 0, fit / power.clamp_min(1), best))
    return best.half()


def _codes(grouped: Tensor, scales: Tensor) -> Tensor:
    divisors = torch.where(scales == 0, torch.inf, scales)[..., None]
    return (grouped / divisors).round_().clamp_(*CODE_RANGE[4])
