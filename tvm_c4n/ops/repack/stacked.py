"""The repacked form of experts that differ in n: a table, then those of each n, in one array.

One array, so that layers whose experts differ take the same arguments as others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.ops.expert_spec import ExpertWeightsSpec
from tvm_c4n.ops.repack.panel import PanelFormat
from tvm_c4n.ops.tir import CACHE_LINE
from tvm_c4n.sparsity import StackedWeight

# Bits of n in an entry of the table; above them is the number among the experts of that n.
N_BITS = 2


@dataclass(frozen=True)
class StackedLayout:
    """Where in the array what lies; the table is at its start.

    Attributes
    ----------
    formats : tuple of PanelFormat
        Of one expert, by ascending n.
    counts : tuple of int
        Experts of each n.
    offsets : tuple of int
        Bytes in front of the first expert of each n.
    size_bytes : int
    """

    formats: tuple[PanelFormat, ...]
    counts: tuple[int, ...]
    offsets: tuple[int, ...]
    size_bytes: int

    @classmethod
    def of(cls, spec: ExpertWeightsSpec, formats: list[PanelFormat]) -> StackedLayout:
        """Lay out the experts of a spec; everything begins at a cache line."""
        end, offsets = _up(4 * spec.experts), []
        counts = tuple(count for _, count in spec.by_removed())
        for fmt, count in zip(formats, counts, strict=True):
            offsets.append(end)
            end += _up(count * prod(fmt.layout.shape))
        return cls(tuple(formats), counts, tuple(offsets), end)

    def repack(self, weight: StackedWeight) -> NDArray[np.uint8]:
        """Return the array of a weight."""
        array = np.zeros(self.size_bytes, np.uint8)
        table = table_of(weight).view(np.uint8)
        array[: table.size] = table
        for fmt, at, part in zip(self.formats, self.offsets, weight.parts, strict=True):
            size = prod(fmt.layout.shape)
            for number in range(part.rows // fmt.rows):
                one = fmt.repack(part.between(number * fmt.rows, (number + 1) * fmt.rows))
                array[at + number * size : at + (number + 1) * size] = one.reshape(-1)
        return array


def table_of(weight: StackedWeight) -> NDArray[np.int32]:
    """Return for each expert its n, and in front of it its number among those that have it."""
    entries = [number << N_BITS | weight.parts[part].removed for part, number in weight.places()]
    return np.array(entries, np.int32)


def _up(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE
