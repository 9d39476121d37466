"""One Mamba layer in torch, for calibration: all windows at once, in stages that pruning can enter.

Works on float32 without autograd. The stages are those between which a projection is replaced:

    normed = norm(hidden)                       input of in_proj
    x, z = split(in_proj(normed)); x = conv(x)  input of x_proj
    step, b, c = split(x_proj(x))               input of dt_proj: step
    y = scan(x, softplus(dt_proj(step)), b, c) * silu(z)   input of out_proj
    hidden += out_proj(y)

Axis letters: see `tvm_c4n.model`. The oracle is `tvm_c4n.model.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, FINAL_NORM, HEAD, MambaConfig
from tvm_c4n.pruning.calibration.compiled_scan import selective_scan
from tvm_c4n.pruning.products import multiply_rows

# Tokens that go through a layer or a product together: the temporaries stay small, and float32 sums
# of a few thousand terms keep enough digits.
BATCH_TOKENS = 8192


@dataclass
class Layer:
    """Weights of one layer as float32 tensors; the projections may be replaced by pruned ones."""

    config: MambaConfig
    norm: Tensor  # h
    taps: Tensor  # d 1 k
    conv_bias: Tensor | None  # d
    a: Tensor  # n d, negative
    skip: Tensor  # d
    dt_bias: Tensor  # d
    projections: dict[str, Tensor]

    @classmethod
    def load(cls, checkpoint: Checkpoint, config: MambaConfig, index: int) -> Layer:
        """Read one layer of a checkpoint."""
        names = config.layer_shapes(index)
        prefix = config.prefix(index)

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(checkpoint.dense(name)))

        return cls(
            config=config,
            norm=tensor(f"backbone.layers.{index}.norm.weight"),
            taps=tensor(prefix + "conv1d.weight"),
            conv_bias=tensor(prefix + "conv1d.bias") if config.conv_bias else None,
            a=-torch.exp(tensor(prefix + "A_log")).T.contiguous(),
            skip=tensor(prefix + "D"),
            dt_bias=tensor(prefix + "dt_proj.bias"),
            projections={
                name.split(".")[-2]: tensor(name) for name in names if "_proj.weight" in name
            },
        )

    def project(self, name: str, x: Tensor) -> Tensor:
        """Apply a projection: (b, t, cols) -> (b, t, rows)."""
        return project(x, self.projections[name])

    def conv(self, x: Tensor) -> Tensor:
        """Causal convolution and SiLU of every channel: (b, t, d) -> (b, t, d), ``x`` is lost."""
        taps = self.taps[:, 0].T.contiguous()  # k d
        out = torch.empty_like(x)
        for rows in _batches(x):
            source, y = x[rows], out[rows]
            torch.mul(source, taps[-1], out=y)
            if self.conv_bias is not None:
                y += self.conv_bias
            for back in range(1, min(len(taps), x.shape[1])):
                y[:, back:].addcmul_(source[:, :-back], taps[-1 - back])
            F.silu(y, inplace=True)
        return out

    def scan(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor, z: Tensor) -> Tensor:
        """Scan selectively, then skip and gate.

        Parameters
        ----------
        x : (b, t, d)
            After the convolution.
        step : (b, t, d)
            Output of dt_proj without its bias.
        b, c : (b, t, n)
        z : (b, t, d)
            The gate.

        Returns
        -------
        (b, t, d)
        """
        bc = torch.cat([b, c], -1)
        return selective_scan(x, step, bc, z, self.a, self.dt_bias, self.skip)

    def mixer_input(self, hidden: Tensor) -> Tensor:
        """RMSNorm of the residual stream: (b, t, h) -> (b, t, h)."""
        return rms_norm(hidden, self.norm, self.config.eps)

    def split(self, low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split the output of x_proj into step (b, t, r), b and c (b, t, n)."""
        rank, state = self.config.dt_rank, self.config.d_state
        step, b, c = low.split([rank, state, state], dim=-1)
        return step, b, c

    def __call__(self, hidden: Tensor) -> Tensor:
        """Run the layer: (b, t, h) -> (b, t, h), in place."""
        x, z = self.project("in_proj", self.mixer_input(hidden)).chunk(2, dim=-1)
        x = self.conv(x)
        step, b, c = self.split(self.project("x_proj", x))
        y = self.scan(x, self.project("dt_proj", step), b, c, z)
        return add_projected(hidden, y, self.projections["out_proj"])


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axis."""
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def project(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight.T``: (b, t, cols), (rows, cols) -> (b, t, rows)."""
    out = torch.empty(*x.shape[:-1], weight.shape[0])
    multiply_rows(x.flatten(0, -2), weight, out.view(-1, len(weight)))
    return out


def add_projected(hidden: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``hidden += x @ weight.T``, in place."""
    multiply_rows(x.flatten(0, -2), weight, hidden.view(-1, len(weight)), add=True)
    return hidden


def _batches(x: Tensor) -> Iterator[slice]:
    """Slices of whole windows of about `BATCH_TOKENS` tokens."""
    together = max(1, BATCH_TOKENS // x.shape[1])
    for first in range(0, len(x), together):
        yield slice(first, first + together)


def logits(checkpoint: Checkpoint, ids: NDArray[np.int64]) -> Tensor:
    """Return the logits of whole windows, to judge a pruned model before it is compiled.

    Parameters
    ----------
    checkpoint : Checkpoint
        Dense or packed; a packed one is expanded layer by layer.
    ids : (b, t) int

    Returns
    -------
    (b, t, v) float32
    """
    config = MambaConfig.from_hf(checkpoint.config)
    embeddings = torch.from_numpy(checkpoint.dense(EMBEDDINGS))
    hidden = embeddings[torch.from_numpy(ids)]
    for index in range(config.n_layer):
        hidden = Layer.load(checkpoint, config, index)(hidden)
    norm = torch.from_numpy(checkpoint.dense(FINAL_NORM))
    head = embeddings if config.tie_embeddings else torch.from_numpy(checkpoint.dense(HEAD))
    return project(rms_norm(hidden, norm, config.eps), head)
