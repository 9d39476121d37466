"""A model in torch that can be trained; its matrices are `StoredWeight`.

Parameters carry Hugging Face's names. Products take ``work`` (bfloat16 on a GPU, float32
elsewhere), see `TrainingOps`. The oracle is `tvm_c4n.model.reference`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os.path import commonprefix
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.healing.ops import TrainingOps
from tvm_c4n.healing.stored import StoredWeight
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.sparsity import from_dense
from tvm_c4n.torch_blocks import Stop, run_layer


def _matrix(checkpoint: Checkpoint, name: str) -> StoredWeight:
    weight = checkpoint.weight(name)
    return StoredWeight(weight or from_dense(checkpoint.dense(name), 0, "float32"))


def _vector(checkpoint: Checkpoint, name: str) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(checkpoint.dense(name))))


# What a model says of windows: see `Student.forward`.
Output = tuple[Tensor, Tensor]


class _Named(nn.Module):  # type: ignore[misc]
    """Parameters or modules by names with dots, which torch does not allow."""

    def __init__(self, entries: Mapping[str, nn.Parameter] | Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._names = tuple(entries)
        for name, entry in entries.items():
            setattr(self, name.replace(".", "/"), entry)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.replace(".", "/"))

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and entries, in order."""
        return ((name, self[name]) for name in self._names)


class TrainedLayer(nn.Module):  # type: ignore[misc]
    """One layer.

    Attributes
    ----------
    prefix : str
        The start of its tensors' names. Those below lack it: layers of one kind are then all alike
        to torch.compile, which compiles them once.
    matrices : StoredWeight by tensor name
        The projections.
    vectors : Parameter by tensor name
        All other tensors.
    """

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, index: int, ops: TrainingOps):
        super().__init__()
        every = list(config.layer_tensors(index))
        self.prefix = commonprefix(every).rpartition(".")[0] + "."  # noqa: RUF071 - no paths
        self._layer, self._ops = config.layers[index].without_prefix(self.prefix), ops
        projections = self._layer.projections()
        self._weights = {name: p.weight for name, p in projections.items()}
        self._biases = {n: (p.bias, p.bias_factor) for n, p in projections.items() if p.bias}
        matrices = self._weights.values()
        vectors = (n.removeprefix(self.prefix) for n in every)
        self.matrices = _Named({n: _matrix(checkpoint, self.prefix + n) for n in matrices})
        self.vectors = _Named(
            {n: _vector(checkpoint, self.prefix + n) for n in vectors if n not in matrices}
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(b, t, h) float32 -> (b, t, h) float32."""
        vectors = dict(self.vectors.items())
        return run_layer(self._layer, vectors, self._ops, hidden, self._project)

    def _project(self, stop: Stop) -> Tensor:
        weight = self.matrices[self._weights[stop.projection]]().to(self._ops.work)
        if stop.routing is not None:
            out = stop.routing.product(stop.inputs, weight)
            return out if stop.hidden is None else stop.routing.summed(out, stop.hidden)
        out = F.linear(stop.inputs, weight)
        if stop.projection in self._biases:
            bias, factor = self._biases[stop.projection]
            out = out + factor * self.vectors[bias].to(out.dtype)
        return out if stop.hidden is None else stop.hidden + out.float()


class Student(nn.Module):  # type: ignore[misc]
    """A whole model.

    Parameters
    ----------
    checkpoint : Checkpoint
        Packed weights are trained as they are stored; dense ones (a teacher's) are not rounded.
    config : ModelConfig
    device : torch.device
    """

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.work = torch.bfloat16 if device.type == "cuda" else torch.float32
        ops = TrainingOps(self.work)
        self.embeddings = _matrix(checkpoint, config.embeddings)
        self.layers = nn.ModuleList(
            TrainedLayer(checkpoint, config, index, ops) for index in range(config.n_layer)
        )
        self.norm_f = _vector(checkpoint, config.final_norm.weight)
        self.head_map = _matrix(checkpoint, config.head_map) if config.head_map else None
        self.lm_head = None if config.tie_embeddings else _matrix(checkpoint, config.head)
        self.to(device)

    def compile_layers(self) -> None:
        """Have torch compile the layers, on a GPU; they are all alike to it."""
        for layer in self.layers if self.norm_f.is_cuda else ():
            layer.compile(dynamic=False)

    def forward(self, tokens: Tensor) -> Output:
        """Run whole windows.

        Parameters
        ----------
        tokens : (b, t) int64

        Returns
        -------
        last : (b, t, h) of ``work``
            After the final norm, and the head map where there is one.
        head : (v, h) of ``work``
            ``last @ head.T`` are the logits.
        """
        table = self.embeddings()
        hidden = self.config.embedding_scale * F.embedding(tokens, table)
        for layer in self.layers:
            hidden = layer(hidden)
        norm = self.config.final_norm
        last = F.rms_norm(hidden, (hidden.shape[-1],), norm.factors(self.norm_f), norm.eps)
        last = self.config.logits_scale * last
        if self.head_map is not None:
            last = F.linear(last.to(self.work), self.head_map().to(self.work))
        head = table if self.lm_head is None else self.lm_head()
        return last.to(self.work), head.to(self.work)

    def stored(self) -> dict[str, StoredWeight]:
        """Return the matrices by their names in the checkpoint."""
        found = {self.config.embeddings: self.embeddings}
        if self.lm_head is not None:
            found[self.config.head] = self.lm_head
        if self.head_map is not None:
            found[str(self.config.head_map)] = self.head_map
        for layer in self.layers:
            found |= {layer.prefix + name: m for name, m in layer.matrices.items()}
        return found

    def vectors(self) -> dict[str, nn.Parameter]:
        """Return all other parameters by their names in the checkpoint."""
        found = {self.config.final_norm.weight: self.norm_f}
        for layer in self.layers:
            found |= {layer.prefix + name: v for name, v in layer.vectors.items()}
        return found
