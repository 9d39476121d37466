"""What a projection of the pruned model is fitted to: the dense model's outputs at that point.

The inputs X of a projection already differ from the dense model's inputs X', because of what was
pruned before it. Fitting to W0 X would carry these errors on; fitting to W0 X', what the dense
model has there, lets each projection undo a part of them (asymmetric calibration; GPTAQ, Li et al.
2025, does so for quantisation). A projection that adds to the residual stream (out_proj) can also
be asked to undo the error of the stream itself, H' - H.

The least-squares problem  min ||W X - (W0 X' + SHARE (H' - H))||^2  has its minimum, the corrected
target, at

    W* = W0 + (W0 (X' - X) + SHARE (H' - H)) X^T (X X^T)^-1

and the loss of any W is that of W* plus (W - W*) X X^T (W - W*)^T. So W* takes the place of W0 in
all that follows, and nothing else changes. SHARE is `RESIDUAL_SHARE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.statistics import gram, product
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.method.hessian import cholesky, damped

# Share of the residual error that such a projection is asked to undo. The rest is left to layers
# behind it: the error of one token is hardly seen in its inputs, and fitting all of it fits noise.
# Of 1/4, 1/2 and 1, 1/2 was best on the default model at n = 2 and n = 3.
RESIDUAL_SHARE = 0.5


class Statistics(NamedTuple):
    """Sums over all calibration tokens.

    Attributes
    ----------
    gram : (cols, cols) float32
        ``X X^T`` of the student's inputs.
    correction : (rows, cols) float32 or None
        ``(W0 (X' - X) + SHARE (H' - H)) X^T``, the second term only where the projection adds to
        the residual stream; None if there is no teacher.
    """

    gram: Tensor
    correction: Tensor | None = None


def collect(
    students: Sequence[Stream],
    teachers: Sequence[Stream],
    layer: Layer,
    weight: Tensor,
    token_weights: Sequence[Tensor] | None = None,
) -> Statistics:
    """Collect the statistics of the projection that the streams stand at.

    Parameters
    ----------
    students, teachers : list of Stream
        The same windows; no teachers where targets are not corrected.
    layer : Layer
        The dense one, that the teachers are in.
    weight : (rows, cols) float32
        W0.
    token_weights : list of (b, t, 1) float32, optional
        What the squared error of each token counts; the sums are over X w X^T then.

    Raises
    ------
    C4nError
        An activation is not finite.
    """
    if token_weights is None:
        weights: list[Tensor | None] = [None] * len(students)
    else:
        weights = list(token_weights)
    roots = [w if w is None else w.sqrt() for w in weights]
    total = gram(_weighted(s.inputs, w) for s, w in zip(students, roots, strict=True))
    if not teachers:
        return Statistics(total)
    # W0 goes to the side of the product that has fewer rows with it than without. With it, the
    # teacher's side is what its projection gives anyway, and the student's is W0 times `total`.
    adds = students[0].adds
    first = adds or len(weight) < weight.shape[1]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for student, teacher, token_weight in zip(students, teachers, weights, strict=True):
            wanted = teacher.product(layer) if first else teacher.inputs - student.inputs
            if adds:
                wanted = torch.add(wanted, teacher.hidden - student.hidden, alpha=RESIDUAL_SHARE)
            yield _weighted(wanted, token_weight), student.inputs

    found = product(pairs())
    return Statistics(total, found - weight @ total if first else weight @ found)


def corrected_target(weight: Tensor, statistics: Statistics, dampening_frac: float) -> Tensor:
    """Return ``W*`` of the module's docstring, damped towards W0.

    Parameters
    ----------
    weight : (rows, cols) float32
        W0; returned itself where there are no teachers.
    statistics : Statistics
    dampening_frac : float
        See `Recipe`.

    Returns
    -------
    (rows, cols) float32
    """
    if statistics.correction is None:
        return weight
    hessian = damped(statistics.gram, dampening_frac)
    change = torch.cholesky_solve(statistics.correction.T.double(), cholesky(hessian))
    return weight + change.T.to(weight.dtype)


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights
