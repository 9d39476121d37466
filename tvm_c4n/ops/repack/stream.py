"""Reading the vectors of panels in a kernel: all prefetches of weights are made here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.repack.layout import Part
from tvm_c4n.ops.repack.reader import SIZE
from tvm_c4n.ops.tir import CACHE_LINE, Locality, prefetch, ramp

if TYPE_CHECKING:
    from tvm_c4n.ops.repack.panel import PanelFormat


class PrefetchPolicy(Enum):
    """Who fetches a step's weights ahead of their use, and into which cache."""

    INTO_L1 = "into L1"
    INTO_L2 = "into L2"
    PAST_CACHES = "past the caches"
    BY_CPU = "by the CPU alone"

    @property
    def locality(self) -> Locality:
        """What a prefetch asks for, where there is one."""
        known = {PrefetchPolicy.INTO_L1: Locality.L1, PrefetchPolicy.PAST_CACHES: Locality.NONE}
        return known.get(self, Locality.L2)


@dataclass(frozen=True)
class Prefetching:
    """How a stream is prefetched (docs/decisions/prefetching.md).

    Attributes
    ----------
    distance : int
        Bytes between what is prefetched and what is read; 0 leaves prefetching to the CPU.
    locality : Locality
        The cache that weights are prefetched into.
    """

    distance: int = 0
    locality: Locality = Locality.L2


NO_PREFETCHING = Prefetching()


@dataclass(frozen=True)
class PanelStream:
    """The vectors of some panels of a bundle, read and prefetched from front to end.

    Each format has a subclass with the reads that its kernel needs.

    Attributes
    ----------
    format : PanelFormat
    buffer : Buffer
        The repacked array.
    bundle, panel : int or PrimExpr
        The bundle, and the first panel in it.
    prefetching : Prefetching
    """

    format: PanelFormat
    buffer: Any
    bundle: Any
    panel: Any
    prefetching: Prefetching = NO_PREFETCHING

    def vector(
        self, k_block: Any, part: Part, index: Any, r: int, dtype: str, per_lane: int = 1
    ) -> Any:
        """Read vector number `index` of panel ``panel + r``: `per_lane` elements for each row."""
        layout, lane_bytes = self.format.layout, SIZE[dtype] * per_lane
        offset = layout.offset(part, index, self.panel + r, lane_bytes)
        width = lane_bytes * layout.mr
        # Once per cache line: the vectors of a line follow each other.
        if self.prefetching.distance and (width >= CACHE_LINE or (r * width) % CACHE_LINE == 0):
            place, how = (self.bundle, k_block, offset), self.prefetching
            prefetch(self.buffer, place, how.distance, how.locality)
        found = self.buffer[self.bundle, k_block, ramp(offset, width)]
        return (
            found if dtype == "uint8" else T.reinterpret(f"{dtype}x{layout.mr * per_lane}", found)
        )
