"""The repacked form of C4n weights: one stream of bytes in the order in which a kernel reads it.

A weight is cut into panels of MR rows, one row for each 32-bit lane of a vector register. One, two
or four panels make a bundle, which a kernel works on at once; rows beyond the last are zero. Along
the columns, a bundle is a sequence of k-blocks of KC columns::

                 KC columns                  a k-block of a bundle with panels A and B:
              +------------+--
    panel A   |  MR rows   |        slice 0                    slice 1 ...     scales
              +------------+--      +-----------+-----------+--     --+------------------+
    panel B   |  MR rows   |        | positions | values    |         | A B  A B ...     |
              +------------+--      | A B A B . | A B A B . |         | of all slices    |
                k-block 0           +-----------+-----------+--     --+------------------+
                                      each A or B: one vector, an element (or four bytes) per row

The array is ``uint8 [bundles, k-blocks, bytes]``. A kernel reads it from front to end, which is
what memory, its pages and the prefetchers are fastest at (docs/decisions/repacked-format.md).

There is one class per format: `FloatPanel`, `SparseFloatPanel`, `Int8ColumnPanel`, `NestedPanel`,
`PairedPanel`, `FieldPanel`, `IntPanel`. It owns the sizes of a k-block, the packing, the reading of
one element (for plain definitions and OpenCL) and the stream of vectors (for the kernels of CPUs,
with its prefetches). A new dtype is a new class here, listed in `FORMATS`.

A code of a position is the place 0..3 in its group of a kept weight; with removed = 1 it is that of
the removed one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.ops.repack.field_panel import FieldPanel
from tvm_c4n.ops.repack.float_panel import FloatPanel
from tvm_c4n.ops.repack.int8_column_panel import Int8ColumnPanel
from tvm_c4n.ops.repack.int_panel import IntPanel
from tvm_c4n.ops.repack.nested_panel import NestedPanel
from tvm_c4n.ops.repack.paired_panel import PairedPanel
from tvm_c4n.ops.repack.panel import PanelFormat
from tvm_c4n.ops.repack.sparse_float_panel import SparseFloatPanel
from tvm_c4n.ops.repack.stacked import StackedLayout
from tvm_c4n.ops.repack.stream import NO_PREFETCHING, PanelStream, Prefetching, PrefetchPolicy
from tvm_c4n.ops.spec import EmbeddingSpec, ExpertWeightsSpec, LinearSpec
from tvm_c4n.ops.stored import StoredFormat
from tvm_c4n.ops.weight_format import WeightFormat
from tvm_c4n.sparsity import AnyWeight, StackedWeight

Spec = LinearSpec | ExpertWeightsSpec | EmbeddingSpec

# In order: the first that holds a weight is its format.
FORMATS: tuple[type[PanelFormat], ...] = (
    FloatPanel,
    SparseFloatPanel,
    Int8ColumnPanel,
    NestedPanel,
    PairedPanel,
    FieldPanel,
    IntPanel,
)


@lru_cache
def _panel_format(
    rows: int, cols: int, removed: int, dtype: str, scale_group: int, mr: int
) -> PanelFormat:
    found = next(each for each in FORMATS if each.holds(rows, cols, removed, dtype, mr))
    return found(rows, cols, removed, dtype, scale_group, mr)


def panel_format(spec: Spec) -> PanelFormat:
    """Return the repacked format of an operator's weights; stored ones have that of MR = 1.

    Of several experts it is that of each: their arrays lie one behind the other. Where they differ
    in n it is that of `spec.removed`; bundles and columns are the same for all.
    """
    removed = 0 if isinstance(spec, EmbeddingSpec) else spec.removed
    return _panel_format(
        spec.rows, spec.cols, removed, spec.dtype, spec.scale_group, spec.lanes or 1
    )


def stacked_layout(spec: ExpertWeightsSpec) -> StackedLayout:
    """Return the layout of experts that differ in n."""
    return StackedLayout.of(spec, [panel_format(spec.of(n)) for n, _ in spec.by_removed()])


def stored_format(spec: LinearSpec | EmbeddingSpec) -> StoredFormat:
    """Return the stored form of an operator's weights."""
    removed = 0 if isinstance(spec, EmbeddingSpec) else spec.removed
    return StoredFormat(spec.rows, spec.cols, removed, spec.dtype, spec.scale_group)


def stored_formats(spec: Spec) -> list[StoredFormat]:
    """Return the stored forms of an operator's weights: of experts those of each n, ascending."""
    if not isinstance(spec, ExpertWeightsSpec):
        return [stored_format(spec)]
    return [
        StoredFormat(count * spec.rows, spec.cols, n, spec.dtype, spec.scale_group)
        for n, count in spec.by_removed()
    ]


def format_of(spec: LinearSpec | EmbeddingSpec) -> WeightFormat:
    """Return the form that an operator's weights have: stored where ``lanes == 0``."""
    return panel_format(spec) if spec.lanes else stored_format(spec)


def repack(weight: AnyWeight, spec: Spec) -> NDArray[np.uint8]:
    """Bring a weight into the repacked form that `spec` describes.

    Parameters
    ----------
    weight : C4nWeight or StackedWeight
    spec : LinearSpec, ExpertWeightsSpec or EmbeddingSpec
        With ``lanes > 0`` and the weight's rows, cols, removed, dtype and scale group.

    Returns
    -------
    ndarray of uint8
        Its shape is that of the format's layout, times the experts, C-contiguous; of experts that
        differ see `StackedLayout`.
    """
    if isinstance(weight, StackedWeight):
        assert isinstance(spec, ExpertWeightsSpec)  # noqa: S101 - others are one matrix
        return stacked_layout(spec).repack(weight)
    fmt, experts = panel_format(spec), getattr(spec, "experts", 1)
    if experts == 1:
        return fmt.repack(weight)
    parts = (weight.between(e * spec.rows, (e + 1) * spec.rows) for e in range(experts))
    return np.concatenate([fmt.repack(part) for part in parts])


__all__ = [
    "FORMATS",
    "NO_PREFETCHING",
    "FieldPanel",
    "FloatPanel",
    "Int8ColumnPanel",
    "IntPanel",
    "NestedPanel",
    "PairedPanel",
    "PanelFormat",
    "PanelStream",
    "PrefetchPolicy",
    "Prefetching",
    "SparseFloatPanel",
    "format_of",
    "panel_format",
    "repack",
    "stacked_layout",
    "stored_format",
    "stored_formats",
]
