"""What the repacked formats share: a layout, and packing by rows of panels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.ops.repack.layout import KBlock, PanelLayout
from tvm_c4n.ops.repack.reader import RowReader
from tvm_c4n.ops.repack.stream import PanelStream, Prefetching
from tvm_c4n.ops.weight_format import Shape, WeightFormat
from tvm_c4n.sparsity import C4nWeight


@dataclass(frozen=True)
class PanelFormat(WeightFormat):
    """A repacked format.

    Attributes
    ----------
    mr : int
        Rows of a panel: 32-bit lanes of a vector register.
    """

    mr: int

    @staticmethod
    @abstractmethod
    def holds(rows: int, cols: int, removed: int, dtype: str, mr: int) -> bool:
        """Return whether weights like this one have this format."""

    @property
    @abstractmethod
    def k_block(self) -> KBlock:
        """Sizes of one panel's share of a k-block."""

    @abstractmethod
    def parts(self, weight: C4nWeight) -> list[NDArray[np.uint8]]:
        """Return the parts of all k-blocks in order: ``(bundles, k-blocks, bytes)`` each."""

    @cached_property
    def layout(self) -> PanelLayout:
        """Sizes of the repacked array."""
        return PanelLayout.of(self.rows, self.cols, self.mr, self.k_block)

    def shapes(self) -> list[Shape]:
        return [(self.layout.shape, "uint8")]

    def repack(self, weight: C4nWeight) -> NDArray[np.uint8]:
        """Bring a weight into this format: ``uint8``, of the layout's shape, C-contiguous."""
        return np.concatenate(self.parts(weight), axis=2)

    def row(self, weights: Sequence[Any], row: Any) -> RowReader:
        """Return the reader of a row."""
        return RowReader.of_row(self.layout, weights[0], row)

    @abstractmethod
    def stream(self, buffer: Any, bundle: Any, panel: Any, how: Prefetching) -> PanelStream:
        """Return the stream of a bundle's panels from `panel` on, with this format's reads.

        Parameters
        ----------
        buffer : Buffer
            The repacked array.
        bundle, panel : int or PrimExpr
        how : Prefetching
        """


def by_panels(array: NDArray[np.generic], layout: PanelLayout) -> NDArray[np.uint8]:
    """Order what belongs to rows by panels.

    Parameters
    ----------
    array : ndarray, (rows, parts, n, size)
        For each row and part of its columns n vectors' elements, `size` of them in a lane.
    layout : PanelLayout

    Returns
    -------
    ndarray of uint8, (bundles, parts, n * panels * MR * size elements)
    """
    rows, parts = array.shape[:2]
    full = layout.bundles * layout.bundle_rows
    padded = np.pad(array, [(0, full - rows)] + [(0, 0)] * (array.ndim - 1))
    split = padded.reshape(layout.bundles, layout.panels, layout.mr, *array.shape[1:])
    ordered = np.ascontiguousarray(split.transpose(0, 3, 4, 1, 2, 5))
    return ordered.reshape(layout.bundles, parts, -1).view(np.uint8)


def dense_values(weight: C4nWeight, cols: int) -> NDArray[Any]:
    """Return a dense weight's values ``(rows, cols)``, with zeros after its last column."""
    flat = weight.unpacked_values().reshape(weight.rows, -1)[:, : weight.cols]
    return np.pad(flat, ((0, 0), (0, cols - weight.cols)))


def pad_groups(array: NDArray[Any], groups: int) -> NDArray[Any]:
    """Append zero groups to ``(rows, groups, ...)``."""
    return np.pad(array, ((0, 0), (0, groups - array.shape[1]), (0, 0)))


def position_codes(weight: C4nWeight, groups: int) -> NDArray[np.uint32]:
    """Return the 2-bit codes ``(rows, groups, codes per group)``, zero for groups beyond the last.

    With one removed weight the code is its place: what 0 + 1 + 2 + 3 lacks.
    """
    codes = weight.unpacked_positions().astype(np.uint32)
    if weight.removed == 1:
        codes = 6 - codes.sum(2, keepdims=True, dtype=np.uint32)
    return pad_groups(codes, groups)
