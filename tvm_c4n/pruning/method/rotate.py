"""Turn the basis of the residual stream; the model computes the same in any.

RMSNorm without its gain gives the same in every orthonormal basis, up to the basis. So the gains
are folded into the matrices that read the normed stream, and a rotation R (new = R old) into these,
into those that write the stream, and into the embeddings:

    E' = E R^T    in' = in diag(gain) R^T    out' = R out    head' = head diag(gain) R^T

A head that is tied to the embeddings keeps them, behind a small matrix, the head map
R diag(gain) R^T, since ``E diag(gain) R^T = E' (R diag(gain) R^T)``. The axes of the description
say which tensors read and write the stream.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.derived import DerivedCheckpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.description import Block, ModelConfig, Norm
from tvm_c4n.model.families import describe_model, with_head_map
from tvm_c4n.model.tensor_spec import HIDDEN, reads_stream, writes_stream
from tvm_c4n.pruning.devices import CPU

Array = NDArray[np.float32]


class Rotated(DerivedCheckpoint):
    """A checkpoint in another basis of the residual stream; reads like any other.

    Parameters
    ----------
    source : Checkpoint
    config : ModelConfig
        The source's.
    rotation : (d_model, d_model) float32
        R, orthogonal.
    device : torch.device
        Where the products are computed; what is read lies on the CPU.

    Raises
    ------
    RecipeError
        A tensor has channels of the stream where no rotation can be folded in, or the model has
        been rotated.

    Attributes
    ----------
    description : ModelConfig
        With a head map where the embeddings are tied.
    """

    def __init__(
        self,
        source: Checkpoint,
        config: ModelConfig,
        rotation: Array,
        device: torch.device = CPU,
    ) -> None:
        if config.head_map is not None:
            raise RecipeError(f"{source.path}: is rotated already; set rotate to false")
        super().__init__(source)
        self._rotation, self._device = rotation, device
        self._reads: dict[str, Norm | None] = {config.embeddings: None}
        self._writes: set[str] = set()
        self._norms = {config.final_norm.weight: config.final_norm}
        self._final_norm = config.final_norm
        if config.tie_embeddings:
            self.config = with_head_map(source.config)
        else:
            self._reads[config.head] = config.final_norm
        self.description = describe_model(self.config)
        for layer in config.layers:
            for residual in layer.residuals:
                self._norms[residual.norm.weight] = residual.norm
                for block in residual.blocks:
                    self._sort(block, residual.norm)

    def _sort(self, block: Block, norm: Norm) -> None:
        """Tell the tensors of a block that read the stream from those that write it."""
        biases = {projection.bias for projection in block.projections()}
        for short, spec in block.tensors().items():
            name = block.prefix + short
            if reads_stream(spec):
                self._reads[name] = norm
            elif writes_stream(spec) and (len(spec.axes) == 2 or name in biases):
                self._writes.add(name)
            elif any(segment.label == HIDDEN for axis in spec.axes for segment in axis):
                raise RecipeError(
                    f"tensor {name} treats channels of the residual stream one by one, so that "
                    "the model cannot be rotated; set rotate to false"
                )

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        added = self.description.head_map
        return sorted([*self._source.names(), *([] if added is None else [added])])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        if name == self.description.head_map:
            return self._rotation.shape
        return self._source.shape(name)

    def dense(self, name: str) -> Array:
        """One tensor as float32, in the new basis."""
        turn = self._rotation
        if name == self.description.head_map:
            return self._product(turn * self._gain(self._final_norm), turn.T)
        array = self._source.dense(name)
        if name in self._norms:
            return np.full_like(array, 1.0 - self._norms[name].offset)
        if name in self._writes:
            # Of several matrices below each other, each is turned by itself.
            parts = array.reshape(-1, len(turn), *array.shape[1:])
            return np.concatenate([self._product(turn, part) for part in parts])
        if name not in self._reads:
            return array
        norm = self._reads[name]
        return self._product(array if norm is None else array * self._gain(norm), turn.T)

    def _product(self, left: Array, right: Array) -> Array:
        if self._device == CPU:
            return np.asarray(left @ right, np.float32)
        there = (torch.from_numpy(side).to(self._device) for side in (left, right))
        found: Array = torch.matmul(*there).cpu().numpy()
        return found

    def _gain(self, norm: Norm) -> Array:
        found: Array = norm.factors(self._source.dense(norm.weight))
        return found
