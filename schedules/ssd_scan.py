"""Mamba-2's scan: a head's state stays near its core; prefill takes chunks of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schedules.base import Space, candidates, decided
from schedules.intrin.base import Intrinsics
from schedules.ssd_chunk import prefill
from schedules.ssd_token import decode_tiles
from tvm_c4n.ops.spec import OpSpec, SsdSpec
from tvm_c4n.ops.tir import Kernel


@dataclass(frozen=True)
class SsdScan:
    """Heads in parallel; in prefill also a head's channels, for they are independent.

    Attributes
    ----------
    tokens : int or None
        Tokens of a chunk, in prefill; 1: one after the other.
    vectors : int or None
        Vectors of channels that a task carries through time, in prefill.
    """

    tokens: int | None = None
    vectors: int | None = None
    name: ClassVar[str] = "ssd_scan"

    def space(self, spec: OpSpec, intrin: Intrinsics) -> Space:
        """Return the candidates for chunks and tasks in prefill."""
        assert isinstance(spec, SsdSpec)  # noqa: S101 - the rule applies
        if not spec.prefill:
            return {}
        fitting = [n for n in (1, 2, 4) if spec.head_dim % (n * intrin.lanes) == 0] or [1]
        most = intrin.ssd_vectors
        return {
            "tokens": candidates(intrin.ssd_tokens, (1, 2, 4, 8)),
            "vectors": candidates(max(n for n in fitting if n <= most), fitting),
        }

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """Return the kernel of a scan."""
        if not isinstance(spec, SsdSpec):
            return None
        if not spec.prefill:
            return Kernel.of_tiles(spec, self.name, decode_tiles(spec, intrin))
        space = self.space(spec, intrin)
        tokens = decided(self.tokens, space["tokens"])
        count = decided(self.vectors, space["vectors"])
        return Kernel(spec, self.name, lambda: prefill(spec, intrin.lanes, tokens, count))
