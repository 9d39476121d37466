"""What a projection of the pruned model is fitted to: the dense model's outputs at that point.

The inputs X of a projection already differ from the dense model's inputs X', because of what was
pruned before it. Keeping W X as it was would carry these errors on; asking for W0 X', what the
dense model has there, lets each projection undo a part of them (asymmetric calibration; GPTAQ, Li
et al. 2025, does so for quantisation). out_proj adds to the residual stream, so it can also be
asked to undo what the stream H has drifted from the dense one, H'.

The least-squares problem  min ||W X - (W0 X' + DRIFT (H' - H))||^2  has its minimum at

    W* = W0 + (W0 (X' - X) + DRIFT (H' - H)) X^T (X X^T)^-1

and the loss of any W is that of W* plus (W - W*) X X^T (W - W*)^T. So W* takes the place of W0 in
all that follows, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tvm_c4n.pruning.calibrate import damped, gram, product
from tvm_c4n.pruning.compensate import inverse_factor
from tvm_c4n.pruning.stream import Stream

# Share of the drift that out_proj is asked to undo. The rest is left to the layers behind it: the
# drift of one token is hardly seen in y, and fitting all of it fits noise. Of 1/4, 1/2 and 1,
# 1/2 was best on the default model at n = 2 and n = 3.
DRIFT = 0.5


class Statistics(NamedTuple):
    """Sums over all calibration tokens.

    Attributes
    ----------
    gram : (cols, cols) float32
        ``X X^T`` of the pupil's inputs.
    shift : (cols, cols) float32 or None
        ``(X' - X) X^T``; None if there is no teacher.
    drift : (rows, cols) float32 or None
        ``(H' - H) X^T``, of out_proj only.
    """

    gram: Tensor
    shift: Tensor | None = None
    drift: Tensor | None = None


def collect(
    pupils: Sequence[Stream],
    teachers: Sequence[Stream],
    projection: str,
    weights: Sequence[Tensor] | None = None,
) -> Statistics:
    """Collect the statistics of the projection that the streams stand at.

    Parameters
    ----------
    pupils, teachers : list of Stream
        The same windows; no teachers where nothing is imitated.
    projection : str
    weights : list of (b, t, 1), optional
        What each token counts; the sums are over X w X^T then.
    """
    roots = [None] * len(pupils) if weights is None else [w.sqrt() for w in weights]
    total = gram(_weighed(s.inputs, w) for s, w in zip(pupils, roots, strict=True))
    if not teachers:
        return Statistics(total)
    both = list(zip(pupils, teachers, roots, strict=True))
    shift = product((_weighed(t.inputs - p.inputs, w), _weighed(p.inputs, w)) for p, t, w in both)
    if projection != "out_proj":
        return Statistics(total, shift)
    drift = product((_weighed(t.hidden - p.hidden, w), _weighed(p.inputs, w)) for p, t, w in both)
    return Statistics(total, shift, drift)


def goal(weight: Tensor, statistics: Statistics, damp: float) -> Tensor:
    """``W*`` of the module's docstring, from W0 (rows, cols); damped towards W0."""
    if statistics.shift is None:
        return weight
    wanted = weight @ statistics.shift
    if statistics.drift is not None:
        wanted += DRIFT * statistics.drift
    factor = inverse_factor(damped(statistics.gram, damp))
    change: Tensor = (wanted.double() @ factor.T) @ factor
    return weight + change.to(weight.dtype)


def _weighed(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights
