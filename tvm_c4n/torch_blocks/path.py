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

from tvm_c4n.model.blocks.delta_net import UNIT_EPS
from tvm_c4n.model.description import Block
from tvm_c4n.torch_blocks.delta_rule import correct_in_chunks
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

    def delta_rule(self, qkv: Tensor, a: Tensor, b: Tensor, p: Delta) -> Tensor:
        """Correct the states of a gated delta net and read them: see `Delta`."""


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


class Delta(NamedTuple):
    """Parameters of the gated delta rule, see `tvm_c4n.model.reference.delta_net`.

    Attributes
    ----------
    a_log, dt_bias : (heads,)
    key_heads, key_dim : int
        Heads of queries and of keys, and their channels.
    """

    a_log: Tensor
    dt_bias: Tensor
    key_heads: int
    key_dim: int

    def rule(self, qkv: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the values that queries read, in the dtype of the arguments.

        Parameters
        ----------
        qkv : (b, t, channels)
            Queries, keys and values, convolved.
        a, b : (b, t, heads)
            How much of a state stays, and how much of it is corrected.

        Returns
        -------
        (b, t, heads, channels of a head)
        """
        keys, heads = self.key_heads * self.key_dim, len(self.a_log)
        q, k, v = qkv.split([keys, keys, qkv.shape[-1] - 2 * keys], dim=-1)
        shared = heads // self.key_heads
        q, k = (
            _unit(x.unflatten(-1, (self.key_heads, -1))).repeat_interleave(shared, 2)
            for x in (q, k)
        )
        logs = -torch.exp(self.a_log) * F.softplus(a + self.dt_bias)
        values = v.unflatten(-1, (heads, -1))
        return correct_in_chunks(q * self.key_dim**-0.5, k, values, logs, b.sigmoid())


def _unit(x: Tensor) -> Tensor:
    """Return heads of length one."""
    return x * (x.square().sum(-1, keepdim=True) + UNIT_EPS).rsqrt()


# (block, its tensors by their names without the prefix, ops, normed (b, t, h), hidden) -> path.
BlockPath: TypeAlias = Callable[[Any, Mapping[str, Tensor], Ops, Tensor, Tensor], Path]
