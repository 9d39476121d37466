"""A weight matrix in training, seen by the model as the folder will store it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tvm_c4n.sparsity import (
    CODES,
    GROUP,
    INT_BITS,
    AnyWeight,
    kept_of,
    pack,
    removed_of_each,
)

# A scale of zero belongs to weights that were all zero; it must be able to grow.
SMALLEST_SCALE = 2.0**-14


class StoredWeight(nn.Module):  # type: ignore[misc]
    """A matrix whose forward pass gives ``q * scale`` where a weight is kept and 0 elsewhere.

    The gradient reaches ``weight`` as if nothing had been removed or rounded, except where a
    weight is clipped; that of a scale is the one of LSQ (Esser et al., 2020), which follows from
    the straight-through rounding: ``(round(w / s) - w / s)`` inside the code's range, the range's
    end outside. Scales are trained as ``scale * exp(change)``: they keep their signs.

    Attributes
    ----------
    weight : (rows, cols) float32
        What is trained. Entries outside the mask do not count.
    mask : (rows, cols) bool
        Where a weight is kept.
    scale, change : (rows, ceil(cols / scale_group)) float32
        Integer dtypes only.
    codes : (4,) float32
        Integer dtypes only: the least and the largest code, the step between codes, and their
        offset from its multiples. A tensor, so that one compiled graph serves weights of all bits.
    """

    def __init__(self, source: AnyWeight) -> None:
        super().__init__()
        self.removed, self.dtype, self.scale_group = (
            source.removed,
            source.dtype,
            source.scale_group,
        )
        self.weight = nn.Parameter(torch.from_numpy(source.dense()))
        self.register_buffer("mask", torch.from_numpy(source.mask()))
        self.rounded = self.dtype in INT_BITS
        if self.rounded:
            codes = CODES[INT_BITS[self.dtype]]
            ends = torch.tensor([codes.low, codes.high, codes.step, codes.offset]).float()
            self.register_buffer("codes", ends, persistent=False)
            scale = torch.from_numpy(np.asarray(source.scales, np.float32))
            self.register_buffer("scale", torch.where(scale == 0, SMALLEST_SCALE, scale))
            self.change = nn.Parameter(torch.zeros_like(scale))

    def scales(self) -> Tensor:
        """Scales as stored, rounded to float16; (rows, groups) float32."""
        scale = self.scale * torch.exp(self.change)
        return scale + (scale.half().float() - scale).detach()

    def forward(self) -> Tensor:
        """Return (rows, cols) float32, as `C4nWeight.dense` will."""
        weight = self.weight
        if self.rounded:
            cols = weight.shape[1]
            step = self.scales().repeat_interleave(self.scale_group, dim=1)[:, :cols]
            # Removed weights are zero before the rounding, so that they claim no gradient of the
            # scale; their own gradient passes.
            held = weight + (weight * self.mask - weight).detach()
            low, high, apart, offset = self.codes.unbind()
            inside = (held / step).clamp(low, high)
            nearest = ((inside - offset) / apart).round() * apart + offset
            # Removed weights are zero, which need not be a code.
            return (inside + (nearest * self.mask - inside).detach()) * step
        stored = weight.half().float() if self.dtype == "float16" else weight
        return weight + (stored * self.mask - weight).detach()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def reselect(self, curvature: Tensor, decay: float) -> None:
        """Choose the mask anew: of each group of 4, keep the weights that matter most.

        What a weight matters is ``w^2 g^2``: the diagonal of Optimal Brain Damage (LeCun et al.,
        1989) with the squared gradient as the curvature. A removed weight starts at zero, is
        trained by the gradient that it would have, and shrinks by ``decay`` (as in SR-STE; Zhou et
        al., 2021), so that only those come back that the gradient asks for all the time.

        Parameters
        ----------
        curvature : (rows, cols)
            Mean squared gradient of each weight.
        decay : float
            Share by which removed weights shrink.
        """
        if not self.removed:
            return
        self.weight.mul_(torch.where(self.mask, 1.0, 1.0 - decay))
        score = (self.weight.square() * curvature).unflatten(1, (-1, GROUP))
        each = removed_of_each(self.removed, 1)
        matrices = zip(each, score.chunk(len(each)), self.mask.chunk(len(each)), strict=True)
        for removed, part, mask in matrices:
            best = part.topk(kept_of(removed), dim=-1).indices
            chosen = torch.zeros_like(part, dtype=torch.bool).scatter_(-1, best, True)
            mask.copy_(chosen.flatten(1))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def packed(self) -> AnyWeight:
        """Return the weight as the folder stores it."""
        scales = None
        if self.rounded:
            scales = self.scales().half().cpu().numpy()
        return pack(
            self.weight.cpu().numpy(),
            self.removed,
            self.dtype,
            mask=self.mask.cpu().numpy() if self.removed else None,
            scales=scales,
            scale_group=self.scale_group or GROUP,
        )
