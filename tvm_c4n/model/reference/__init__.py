"""A model in plain numpy, one formula per line: the oracle of every faster version.

Each kind of block has its module. Axis letters: see `tvm_c4n.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.model.description import Block, ModelConfig, Norm
from tvm_c4n.model.reference.attention import attention
from tvm_c4n.model.reference.delta_net import delta_net
from tvm_c4n.model.reference.experts import experts
from tvm_c4n.model.reference.formulas import Array, rms_norm
from tvm_c4n.model.reference.mamba1 import mamba1
from tvm_c4n.model.reference.mamba2 import mamba2
from tvm_c4n.model.reference.mlp import mlp
from tvm_c4n.model.reference.short_conv import short_conv
from tvm_c4n.model.reference.tensors import States, Tensors

# By kind: (block, its tensors, its states, (t, h)) -> (t, h).
BLOCKS: dict[str, Callable[[Any, Tensors, States, Array], Array]] = {
    "attention": attention,
    "delta_net": delta_net,
    "experts": experts,
    "mamba1": mamba1,
    "mamba2": mamba2,
    "mlp": mlp,
    "short_conv": short_conv,
}


class Reference:
    """A language model whose state is explicit.

    Parameters
    ----------
    config : ModelConfig
    dense : callable
        ``dense(name)`` gives a tensor as a float array, for example `Checkpoint.dense`.
    dtype : numpy float type
        dtype of weights, activations and state: float64 (default) or float32.

    Attributes
    ----------
    states : list of dict of str to ndarray
        Of each block in order, by the names of the description; advanced by `prefill` and `step`.
        Assigning copies of earlier ones resumes from there.
    """

    def __init__(
        self, config: ModelConfig, dense: Callable[[str], Array], dtype: Any = np.float64
    ) -> None:
        self.config = config
        self.dtype = np.dtype(dtype)
        self._tensors = {
            name: np.asarray(dense(name), dtype=self.dtype) for name in config.tensor_shapes()
        }
        self.reset()

    def reset(self) -> None:
        """Forget the text: states of zeros."""
        self.states: list[States] = [
            {state.name: np.zeros(state.shape, self.dtype) for state in block.states()}
            for layer in self.config.layers
            for block in layer.blocks
        ]

    def copied_states(self) -> list[States]:
        """Return copies of all states, with which the text can be resumed from here."""
        return [{name: state.copy() for name, state in of.items()} for of in self.states]

    def prefill(self, ids: Sequence[int] | NDArray[Any]) -> Array:
        """Read tokens, continuing from ``states``.

        Parameters
        ----------
        ids : (t,) int

        Returns
        -------
        (t, v) float
            Row i: logits of the token after ``ids[i]``.

        Raises
        ------
        C4nError
            No tokens, a token outside the vocabulary, or more than attention has room for.
        """
        tokens = np.asarray(ids)
        if tokens.ndim != 1 or tokens.size == 0:
            raise C4nError(f"ids have shape {tokens.shape}; expected at least one token")
        if tokens.min() < 0 or tokens.max() >= self.config.vocab_size:
            raise C4nError(f"a token lies outside 0..{self.config.vocab_size - 1}")
        h = self.config.embedding_scale * self._tensors[self.config.embeddings][tokens]
        states = iter(self.states)
        for layer in self.config.layers:
            for residual in layer.residuals:
                u = self._norm(h, residual.norm)
                h = h + sum(self._block(block, next(states), u) for block in residual.blocks)
        last = self.config.logits_scale * self._norm(h, self.config.final_norm)
        if self.config.head_map is not None:
            last = last @ self._tensors[self.config.head_map].T
        return np.asarray(last @ self._tensors[self.config.head].T)

    def step(self, token: int) -> Array:
        """Read one token; returns the logits (v,) of the next one."""
        return np.asarray(self.prefill([token])[0])

    def _norm(self, x: Array, norm: Norm) -> Array:
        return norm.factors(self._tensors[norm.weight]) * rms_norm(x, norm.eps)

    def _block(self, block: Block, states: States, u: Array) -> Array:
        return BLOCKS[block.kind](block, Tensors(block, self._tensors), states, u)


__all__ = ["BLOCKS", "Reference"]
