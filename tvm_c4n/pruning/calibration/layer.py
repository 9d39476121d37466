"""A layer whose projections can be replaced by pruned ones, for many windows at once.

Works on float32 without gradients. The oracle is `tvm_c4n.model.reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model import description
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.calibration import ops
from tvm_c4n.pruning.devices import CPU
from tvm_c4n.pruning.products import multiply_rows
from tvm_c4n.torch_blocks import Path, Stop, layer_path, run_layer


@dataclass
class Layer:
    """Weights of one layer as float32 tensors.

    Attributes
    ----------
    description : tvm_c4n.model.description.Layer
    tensors : dict of str to Tensor
        By their names in the checkpoint, without the projections' weights.
    projections : dict of str to Tensor
        Weights (rows, cols) by the projections' names; may be replaced.
    """

    description: description.Layer
    tensors: dict[str, Tensor]
    projections: dict[str, Tensor]

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, config: ModelConfig, index: int, device: torch.device = CPU
    ) -> Layer:
        """Read one layer of a checkpoint, and put it on a device."""
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(checkpoint.dense(name))).to(device)
            for name in config.layer_tensors(index)
        }
        projections = config.projections(index).values()
        return cls(
            config.layers[index], tensors, {p.name: tensors.pop(p.weight) for p in projections}
        )

    def path(self, hidden: Tensor) -> Path:
        """Go through the layer; ``hidden`` (b, t, h) is changed in place."""
        return layer_path(self.description, self.tensors, ops, hidden)

    def product(self, stop: Stop) -> Tensor:
        """Multiply the inputs at a stop with the projection's weight: (b, t, rows)."""
        weight = self.projections[stop.projection]
        if stop.routing is not None:
            return stop.routing.product(stop.inputs, weight)
        return project(stop.inputs, weight)

    def apply(self, stop: Stop, product: Tensor | None = None) -> Tensor:
        """Return what the path is sent at a stop: (b, t, rows), or the stream with it added.

        A ``product`` that is known is not computed again; it may be changed.
        """
        bias = self._bias(stop.projection)
        if stop.hidden is None:
            out = self.product(stop) if product is None else product
        elif stop.routing is not None:
            values = self.product(stop) if product is None else product
            out = stop.hidden.copy_(stop.routing.summed(values, stop.hidden))
        elif product is not None:
            out = stop.hidden.add_(product)
        else:
            weight, out = self.projections[stop.projection], stop.hidden
            multiply_rows(stop.inputs.flatten(0, -2), weight, out.view(-1, len(weight)), add=True)
        return out if bias is None else out.add_(bias)

    def _bias(self, projection: str) -> Tensor | None:
        found = self.description.projections()[projection]
        return None if found.bias is None else found.bias_factor * self.tensors[found.bias]

    def __call__(self, hidden: Tensor) -> Tensor:
        """Run the layer: (b, t, h) -> (b, t, h), in place."""
        return run_layer(self.description, self.tensors, ops, hidden, self.apply)


def project(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight.T``: (b, t, cols), (rows, cols) -> (b, t, rows)."""
    out = x.new_empty(*x.shape[:-1], weight.shape[0])
    multiply_rows(x.flatten(0, -2), weight, out.view(-1, len(weight)))
    return out


def logits(checkpoint: Checkpoint, ids: NDArray[np.int64], device: torch.device = CPU) -> Tensor:
    """Return the logits of whole windows, to judge a pruned model before it is compiled.

    Parameters
    ----------
    checkpoint : Checkpoint
        Dense or packed; a packed one is expanded layer by layer.
    ids : (b, t) int
    device : torch.device

    Returns
    -------
    (b, t, v) float32
        On the device.
    """
    config = describe_model(checkpoint.config)
    embeddings = torch.from_numpy(checkpoint.dense(config.embeddings))
    hidden = (config.embedding_scale * embeddings[torch.from_numpy(ids)]).to(device)
    for index in range(config.n_layer):
        hidden = Layer.load(checkpoint, config, index, device)(hidden)
    return Head.load(checkpoint, config).to(device)(hidden)


@dataclass
class Head:
    """The final norm, times the scale of the logits, and the head, ahead of it the head map."""

    norm: Tensor  # h
    weight: Tensor  # v h
    eps: float
    map: Tensor | None = None  # h h

    @classmethod
    def load(cls, checkpoint: Checkpoint, config: ModelConfig) -> Head:
        """Read the head of a checkpoint."""
        norm = config.final_norm
        weight = torch.from_numpy(norm.factors(checkpoint.dense(norm.weight)))
        head = torch.from_numpy(checkpoint.dense(config.head))
        name = config.head_map
        between = None if name is None else torch.from_numpy(checkpoint.dense(name))
        return cls(config.logits_scale * weight, head, norm.eps, between)

    def to(self, device: torch.device) -> Head:
        """Return the head on a device."""
        there = self.changed(lambda matrix: matrix.to(device))
        return replace(there, norm=self.norm.to(device))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Head:
        """Return the head with its matrices as a function gives them."""
        between = None if self.map is None else change(self.map)
        return replace(self, weight=change(self.weight), map=between)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits of (b, t, h): (b, t, v)."""
        return project(self.inputs(hidden), self.weight)

    def inputs(self, hidden: Tensor) -> Tensor:
        """Return what the head's matrix is multiplied with: (b, t, h) -> (b, t, h)."""
        normed = ops.rms_norm(hidden, self.norm, self.eps)
        return normed if self.map is None else project(normed, self.map)
