"""Byte indices into a window, made of 2-bit codes: plainly, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm_c4n._tvm import T

if TYPE_CHECKING:
    from schedules.intrin.base import Intrinsics


class Indices:
    """The indices of a slice, one after the other.

    An instruction set may make an index of the one before it; this class, the default, does not.

    Parameters
    ----------
    intrin : Intrinsics
    """

    def __init__(self, intrin: Intrinsics) -> None:
        self._intrin = intrin

    def of_field(self, words: Any, field: int) -> Any:
        """Return the indices whose codes are number `field` of each byte of ``uint32`` words."""
        return T.bind(self._intrin.gather_index(words, field))

    def of_nested(self, found: Any, field: int) -> Any:
        """Return the indices whose codes are number `field`, 0 or 1, of ``uint8`` bytes.

        Those of field 1 are into a window as `Intrinsics.turned` makes it.
        """
        words = T.reinterpret(f"uint32x{self._intrin.lanes}", found)
        return T.bind(self._intrin.gather_index(words, field))
