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


def reads_stream(spec: TensorSpec) -> bool:
    """Say whether a tensor is a matrix whose columns are the residual stream's channels."""
    labels = [[segment.label for segment in axis] for axis in spec.axes]
    return len(labels) == 2 and labels[1] == [HIDDEN] and HIDDEN not in labels[0]


def writes_stream(spec: TensorSpec) -> bool:
    """Say whether a tensor has the stream's channels as its rows, once or several times."""
    first, *others = [{segment.label for segment in axis} for axis in spec.axes]
    return first == {HIDDEN} and all(HIDDEN not in labels for labels in others)
