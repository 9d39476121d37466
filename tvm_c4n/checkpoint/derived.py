"""A checkpoint that is made of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import Checkpoint


class DerivedCheckpoint:
    """Reads as its source does, but for weights: subclasses say which tensors differ.

    Parameters
    ----------
    source : Checkpoint
    """

    def __init__(self, source: Checkpoint) -> None:
        self._source = source
        self.path: Path = source.path
        self.config: dict[str, Any] = source.config

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return self._source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._source.shape(name)

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32."""
        return self._source.dense(name)

    def weight(self, name: str) -> None:
        """Return None: what was changed or put together is not stored as a packed weight."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors of the source, as stored."""
        return self._source.size_bytes

    def extra_files(self) -> list[Path]:
        """Files that belong to the source."""
        return self._source.extra_files()
