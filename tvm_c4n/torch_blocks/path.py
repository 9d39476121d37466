"""The way of activations through a block in torch, with a stop at every projection.

A path is a generator. It yields a `Stop` where a matrix is to be applied, and is sent the result.
Who drives it decides how: calibration halts there, collects statistics and puts pruned weights in
place; training multiplies and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n.model.description import Block
from tvm_c4n.torch_blocks.routing import Routing
from tvm_c4n.torch_blocks.ssd import scan_in_chunks


class Stop(NamedTuple):
    """A projection that is to be applied.

    Attributes
    ----------
    projection : str
        Its name in the layer.
    inputs : (b, t, cols)
        With a routing, (pairs, cols) where each pair has inputs of its own.
    hidden : (b, t, h), optional
        The residual stream that the result is added to; the sum is sent then.
    routing : Routing, optional
        The weight is that of several experts, see `Projection`; (pairs, rows) are sent.
    """

    projection: str
    inputs: Tensor
    hidden: Tensor | None = None
    routing: Routing | None = None


def scaled(block: Block, projection: str, normed: Tensor) -> Tensor:
    """Return what a projection reads of the normed stream."""
    factor = block.factor(projection)
    return normed if factor == 1 else normed * factor


# Returns the residual stream behind the block, or the layer.
Path: TypeAlias = Generator[Stop, Tensor, Tensor]


class Ops(Protocol):
    """What lies between projections; each side of the product chooses dtype, speed and gradients.

    All activations are (b, t, channels).
    """

    def rms_norm(self, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        """``weight * x / sqrt(mean(x^2) + eps)`` over the last axis."""

    def conv(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, activated: bool = True
    ) -> Tensor:
        """Convolve causally per channel with ``weight`` (d, 1, k), then SiLU if `activated`."""

    def selective_scan(self, x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Scan) -> Tensor:
        """Scan with Mamba-1's recurrence, skip and gate: see `Scan`."""

    def ssd_scan(self, x: Tensor, dt: Tensor, bc: Tensor, z: Tensor, p: Ssd) -> Tensor:
        """Scan with Mamba-2's recurrence, skip and gate: see `Ssd`; dt is (b, t, heads)."""


class Scan(NamedTuple):
    """Parameters of Mamba-1's scan.

    ``delta = softplus(dt + dt_bias)``, ``h = exp(delta * -exp(a_log)) h + delta x B``,
    ``y = (<h, C> + skip x) silu(z)``; bc holds B, then C.

    Attributes
    ----------
    a_log : (d, n)
    dt_bias, skip : (d,)
    """

    a_log: Tensor
    dt_bias: Tensor
    skip: Tensor


class Ssd(NamedTuple):
    """Parameters of Mamba-2's scan: as Mamba-1's, with one step and one decay for each head.

    Attributes
    ----------
    a_log, dt_bias, skip : (heads,)
    groups : int
        Groups of heads that share B and C.
    limits : tuple of float
        The least and the largest delta.
    """

    a_log: Tensor
    dt_bias: Tensor
    skip: Tensor
    groups: int
    limits: tuple[float, float]

    def scan(self, x: Tensor, dt: Tensor, bc: Tensor, z: Tensor) -> Tensor:
        """Scan, skip and gate, in the dtype of the arguments; see `Ops.ssd_scan`."""
        heads = len(self.a_log)
        delta = F.softplus(dt + self.dt_bias).clamp(*self.limits)
        b, c = bc.unflatten(-1, (2, self.groups, -1)).unbind(2)
        x = x.unflatten(-1, (heads, -1))
        y = scan_in_chunks(x, delta, -torch.exp(self.a_log), b, c) + self.skip[:, None] * x
        return y.flatten(-2) * F.silu(z)


# (block, its tensors by their names without the prefix, ops, normed (b, t, h), hidden) -> path.
BlockPath: TypeAlias = Callable[[Any, Mapping[str, Tensor], Ops, Tensor, Tensor], Path]
