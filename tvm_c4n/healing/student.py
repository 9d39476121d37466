"""A Mamba model in torch that can be trained; its matrices are `StoredWeight`.

Parameters carry Hugging Face's names. The residual stream, norms, convolution and scan state are
float32; products take ``work`` (bfloat16 on a GPU, float32 elsewhere). Axis letters: see
`tvm_c4n.model`. The oracle is `tvm_c4n.model.reference`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.healing.scan import selective_scan
from tvm_c4n.healing.stored import StoredWeight
from tvm_c4n.model.config import EMBEDDINGS, FINAL_NORM, HEAD, MambaConfig
from tvm_c4n.sparsity import from_dense


def _matrix(checkpoint: Checkpoint, name: str) -> StoredWeight:
    weight = checkpoint.weight(name)
    return StoredWeight(weight or from_dense(checkpoint.dense(name), 0, "float32"))


def _vector(checkpoint: Checkpoint, name: str) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(checkpoint.dense(name))))


# What a model says of windows: see `Student.forward`.
Output = tuple[Tensor, Tensor]


class Mixer(nn.Module):  # type: ignore[misc]
    """One residual block: norm, projections, convolution, scan."""

    def __init__(self, checkpoint: Checkpoint, config: MambaConfig, index: int, work: torch.dtype):
        super().__init__()
        mixer = config.prefix(index)
        self.rank, self.eps, self.work = config.dt_rank, config.eps, work
        self.norm = _vector(checkpoint, f"backbone.layers.{index}.norm.weight")
        self.in_proj = _matrix(checkpoint, mixer + "in_proj.weight")
        self.taps = _vector(checkpoint, mixer + "conv1d.weight")
        self.conv_bias = None
        if config.conv_bias:
            self.conv_bias = _vector(checkpoint, mixer + "conv1d.bias")
        self.x_proj = _matrix(checkpoint, mixer + "x_proj.weight")
        self.dt_proj = _matrix(checkpoint, mixer + "dt_proj.weight")
        self.dt_bias = _vector(checkpoint, mixer + "dt_proj.bias")
        self.a_log = _vector(checkpoint, mixer + "A_log")
        self.skip = _vector(checkpoint, mixer + "D")
        self.out_proj = _matrix(checkpoint, mixer + "out_proj.weight")

    def forward(self, hidden: Tensor) -> Tensor:
        """(b, t, h) float32 -> (b, t, h) float32."""
        work = self.work
        normed = F.rms_norm(hidden, (hidden.shape[-1],), self.norm, self.eps).to(work)
        x, z = F.linear(normed, self.in_proj().to(work)).chunk(2, dim=-1)
        x = F.silu(self._conv(x.float())).to(work)
        low = F.linear(x, self.x_proj().to(work))
        step = F.linear(low[..., : self.rank], self.dt_proj().to(work))
        a = -torch.exp(self.a_log).t().contiguous()
        y = selective_scan(x, step, self.dt_bias, a, low[..., self.rank :].contiguous())
        y = (y.float() + x.float() * self.skip) * F.silu(z.float())
        return hidden + F.linear(y.to(work), self.out_proj().to(work)).float()

    def _conv(self, x: Tensor) -> Tensor:
        """Causal convolution of every channel: (b, t, d) -> (b, t, d)."""
        taps, tokens = self.taps[:, 0], x.shape[1]
        width = taps.shape[-1]
        padded = F.pad(x, (0, 0, width - 1, 0))
        out = padded[:, :tokens] * taps[:, 0]
        for k in range(1, width):
            out = out + padded[:, k : k + tokens] * taps[:, k]
        return out if self.conv_bias is None else out + self.conv_bias


class Student(nn.Module):  # type: ignore[misc]
    """A whole model.

    Parameters
    ----------
    checkpoint : Checkpoint
        Packed weights are trained as they are stored; dense ones (a teacher's) are not rounded.
    config : MambaConfig
    device : torch.device
    """

    def __init__(self, checkpoint: Checkpoint, config: MambaConfig, device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.work = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.embeddings = _matrix(checkpoint, EMBEDDINGS)
        self.layers = nn.ModuleList(
            Mixer(checkpoint, config, index, self.work) for index in range(config.n_layer)
        )
        self.norm_f = _vector(checkpoint, FINAL_NORM)
        self.lm_head = None if config.tie_embeddings else _matrix(checkpoint, HEAD)
        self.to(device)
        if device.type == "cuda":
            for layer in self.layers:
                layer.compile(dynamic=False)

    def forward(self, tokens: Tensor) -> Output:
        """Run whole windows.

        Parameters
        ----------
        tokens : (b, t) int64

        Returns
        -------
        last : (b, t, h) of ``work``
            After the final norm.
        head : (v, h) of ``work``
            ``last @ head.T`` are the logits.
        """
        table = self.embeddings()
        hidden = F.embedding(tokens, table)
        for layer in self.layers:
            hidden = layer(hidden)
        last = F.rms_norm(hidden, (hidden.shape[-1],), self.norm_f, self.config.eps)
        head = table if self.lm_head is None else self.lm_head()
        return last.to(self.work), head.to(self.work)

    def stored(self) -> dict[str, StoredWeight]:
        """Return the matrices by their names in the checkpoint."""
        found = {EMBEDDINGS: self.embeddings}
        if self.lm_head is not None:
            found[HEAD] = self.lm_head
        for index, layer in enumerate(self.layers):
            for kind in ("in_proj", "x_proj", "dt_proj", "out_proj"):
                found[self.config.projection(index, kind)] = getattr(layer, kind)
        return found

    def vectors(self) -> dict[str, nn.Parameter]:
        """Return all other parameters by their names in the checkpoint."""
        found = {FINAL_NORM: self.norm_f}
        for index, layer in enumerate(self.layers):
            mixer = self.config.prefix(index)
            found[f"backbone.layers.{index}.norm.weight"] = layer.norm
            found[mixer + "conv1d.weight"] = layer.taps
            found[mixer + "dt_proj.bias"] = layer.dt_bias
            found[mixer + "A_log"] = layer.a_log
            found[mixer + "D"] = layer.skip
            if layer.conv_bias is not None:
                found[mixer + "conv1d.bias"] = layer.conv_bias
        return found
