"""Calibration windows on their way through the model, projection by projection.

Two streams run side by side: the student's goes through the pruned weights, the teacher's through
the dense ones. What the student's projections are fitted to is computed from both
(`corrected_target.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.ops import BATCH_TOKENS
from tvm_c4n.torch_blocks import Path, Routing, Stop


class Stream:
    """Some windows inside one model.

    Parameters
    ----------
    hidden : (b, t, h)
        The residual stream before a layer; it is changed in place.
    forks : bool
        Whether `fork` will be called: what the projections gave in this layer is kept.

    Attributes
    ----------
    hidden : (b, t, h)
        The residual stream before the layer, or behind the blocks that are done.
    """

    def __init__(self, hidden: Tensor, *, forks: bool = False) -> None:
        self.hidden = hidden
        self._forks = forks
        self._path: Path | None = None
        self._stop: Stop | None = None
        self._product: Tensor | None = None
        self._given: list[Tensor] = []

    @property
    def inputs(self) -> Tensor:
        """What the next projection of the layer reads, (b, t, cols)."""
        return self._at.inputs

    @property
    def routing(self) -> Routing:
        """Which tokens each expert of the next projection reads; it is one of experts."""
        assert self._at.routing is not None  # noqa: S101 - of experts
        return self._at.routing

    @property
    def adds(self) -> bool:
        """Whether the next projection adds to the residual stream."""
        return self._at.hidden is not None

    @property
    def _at(self) -> Stop:
        assert self._stop is not None  # noqa: S101 - callers go as many stops as there are
        return self._stop

    def product(self, layer: Layer) -> Tensor:
        """Return what the next projection makes of its inputs, without bias: (b, t, rows).

        It is kept for `pass_through`, which needs it, too.
        """
        if self._product is None:
            self._product = layer.product(self._at)
        return self._product

    def enter(self, layer: Layer) -> None:
        """Go to the first projection of a layer."""
        self._given = [self.hidden.clone()] if self._forks else []
        self._path = layer.path(self.hidden)
        self._stop = next(self._path)

    def pass_through(self, layer: Layer) -> None:
        """Go through the projection and on to the next, or out of the layer."""
        assert self._path is not None  # noqa: S101 - the stream has entered a layer
        stop, self._stop = self._at, None
        out, self._product = layer.apply(stop, self._product), None
        del stop
        if self._forks:
            self._given.append(out)
        self._send(out)

    def fork(self, layer: Layer) -> Stream:
        """Return a stream at the same place that goes its own way from here.

        Parameters
        ----------
        layer : Layer
            The one that was entered.
        """
        before, *given = self._given
        other = Stream(before.clone())
        other.enter(layer)
        for out in given:
            # What was added to the stream lies in the same memory as the stream, which has moved
            # on since: it is added again.
            other._send(layer.apply(other._at) if other.adds else out)
        return other

    def _send(self, out: Tensor) -> None:
        assert self._path is not None  # noqa: S101 - as in pass_through
        try:
            self._stop = self._path.send(out)
        except StopIteration as done:
            self.hidden, self._path, self._given = done.value, None, []


def batches(windows: Tensor) -> Iterator[Tensor]:
    """Cut windows (b, t, ...) into batches of whole windows, about `BATCH_TOKENS` tokens each."""
    return iter(windows.split(max(1, BATCH_TOKENS // windows.shape[1])))
