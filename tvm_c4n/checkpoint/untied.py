"""A checkpoint without its head map: the head is a matrix of its own, as transformers has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import Checkpoint
from tvm_c4n.checkpoint.derived import DerivedCheckpoint
from tvm_c4n.model.families import describe_model, has_head_map, untied


class Untied(DerivedCheckpoint):
    """Reads like any other checkpoint; one without a head map reads as it is.

    The head is ``E M`` of the embeddings E (v, h) and the head map M (h, h): M maps what the last
    norm gives, and E makes logits of that.

    Parameters
    ----------
    source : Checkpoint

    Raises
    ------
    CheckpointError
        The config is not that of a supported model.
    """

    def __init__(self, source: Checkpoint) -> None:
        super().__init__(source)
        self._map: str | None = None
        self._embeddings = self._head = ""
        if has_head_map(source.config):
            description = describe_model(source.config)
            self._map, self._embeddings = description.head_map, description.embeddings
            self.config = untied(source.config)
            self._head = describe_model(self.config).head

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        if self._map is None:
            return self._source.names()
        return sorted([*(n for n in self._source.names() if n != self._map), self._head])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._source.shape(self._embeddings if name == self._head else name)

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32."""
        if self._map is None or name != self._head:
            return self._source.dense(name)
        return self._source.dense(self._embeddings) @ self._source.dense(self._map)
