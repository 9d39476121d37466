"""A checkpoint whose runs of rows are put together again, as Hugging Face's tensors are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import Checkpoint
from tvm_c4n.checkpoint.derived import DerivedCheckpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.rows import Rows, joined, rows_of


class WholeTensors(DerivedCheckpoint):
    """Reads like any other checkpoint; see `tvm_c4n.model.rows`.

    Parameters
    ----------
    source : Checkpoint

    Raises
    ------
    CheckpointError
        Rows of a tensor are missing.
    """

    def __init__(self, source: Checkpoint) -> None:
        super().__init__(source)
        self._rows: dict[str, list[Rows]] = {}
        self._whole = []
        for name in source.names():
            rows = rows_of(name)
            if rows is None:
                self._whole.append(name)
            else:
                self._rows.setdefault(rows.source, []).append(rows)
        for name, parts in self._rows.items():
            parts.sort(key=lambda rows: rows.start)
            for before, rows in zip((0, *(p.stop for p in parts)), parts, strict=False):
                if rows.start != before:
                    raise CheckpointError(
                        f"{self.path}: rows {before} to {rows.start} of tensor {name} are missing"
                    )

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted([*self._whole, *self._rows])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        if name not in self._rows:
            return self._source.shape(name)
        last = self._rows[name][-1]
        return last.source_shape(self._source.shape(last.name)[1:])

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32."""
        if name not in self._rows:
            return self._source.dense(name)
        return joined([(rows, self._source.dense(rows.name)) for rows in self._rows[name]])
