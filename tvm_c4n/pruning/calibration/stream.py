"""Calibration windows on their way through the model, projection by projection.

Two streams run side by side: the student's goes through the pruned weights, the teacher's through
the dense ones. What the student's projections are fitted to is computed from both
(`corrected_target.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tvm_c4n.pruning.calibration.torch_mamba import BATCH_TOKENS, Layer, add_projected


@dataclass
class Stream:
    """Some windows inside one model.

    Attributes
    ----------
    hidden : (b, t, h)
        The residual stream before the layer.
    inputs : (b, t, cols)
        What the next projection of the layer reads.
    """

    hidden: Tensor
    inputs: Tensor = field(default_factory=lambda: torch.empty(0))
    _held: dict[str, Tensor] = field(default_factory=dict)

    def enter(self, layer: Layer) -> None:
        """Go to the first projection of a layer."""
        self.inputs = layer.mixer_input(self.hidden)

    def copy(self) -> Stream:
        """Return a stream at the same place that goes its own way from here."""
        return Stream(self.hidden.clone(), self.inputs, dict(self._held))

    def pass_through(self, layer: Layer, projection: str) -> None:
        """Go through a projection and on to the next; after out_proj the layer is done."""
        if projection == "out_proj":
            add_projected(self.hidden, self.inputs, layer.projections[projection])
            self.inputs = torch.empty(0)
            return
        out = layer.project(projection, self.inputs)
        held = self._held
        if projection == "in_proj":
            x, z = out.chunk(2, dim=-1)
            held["x"] = self.inputs = layer.conv(x)
            held["z"] = z.contiguous()  # a view would keep x as well
        elif projection == "x_proj":
            self.inputs, held["b"], held["c"] = layer.split(out)
        else:
            self.inputs = layer.scan(held["x"], out, held["b"], held["c"], held["z"])
            held.clear()


def batches(windows: Tensor) -> Iterator[Tensor]:
    """Cut windows (b, t, ...) into batches of whole windows, about `BATCH_TOKENS` tokens each."""
    return iter(windows.split(max(1, BATCH_TOKENS // windows.shape[1])))
