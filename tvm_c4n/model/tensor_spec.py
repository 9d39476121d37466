"""The axes of a tensor, and which of their channels are the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Segment(NamedTuple):
    """A run of channels along an axis of a tensor.

    Attributes
    ----------
    label : str
        Channels of one label are the same ones wherever they appear in a block; `HIDDEN` are the
        same in the whole model. Empty: channels whose order is nobody's business.
    size : int
    """

    label: str
    size: int


HIDDEN = "hidden"
Axis = tuple[Segment, ...]


@dataclass(frozen=True)
class TensorSpec:
    """Axes of a tensor, each the concatenation of segments."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(sum(segment.size for segment in axis) for axis in self.axes)


def tensor(*axes: Segment | Axis | int) -> TensorSpec:
    """Return a spec; a number is an axis without a label, a segment an axis of its own."""

    def axis(given: Segment | Axis | int) -> Axis:
        if isinstance(given, int):
            return (Segment("", given),)
        return (given,) if isinstance(given, Segment) else given

    return TensorSpec(tuple(axis(given) for given in axes))
