"""The teacher, and how far a student is from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n.healing.student import Output, Student

# Share of the GPU's free memory that the teacher's outputs may take.
CACHE_SHARE = 0.6
# Tokens that `distance` sends through the models together. A CPU takes half a minute for a thousand
# or two, and whoever waits wants to see that it moves.
EVALUATION_TOKENS = 8192
CPU_EVALUATION_TOKENS = 1024


def divergence(student: Output, teacher: Output) -> Tensor:
    """Mean over tokens of KL(teacher || student), in nats; a scalar."""
    return _divergence(F.linear(*student).float().log_softmax(-1), teacher)


def objective(student: Output, teacher: Output, tokens: Tensor, label_loss: float) -> Tensor:
    """Return what healing makes small: the divergence and, for its share, the text itself.

    Parameters
    ----------
    student, teacher : Output
        For the same windows.
    tokens : (b, t) int64
        The windows.
    label_loss : float
        Share of the cross-entropy with the text's own next tokens ("hard targets": Hinton et al.,
        "Distilling the knowledge in a neural network", 2015).

    Returns
    -------
    scalar, nats per token
    """
    mine = F.linear(*student).float().log_softmax(-1)
    soft = _divergence(mine, teacher)
    if not label_loss:
        return soft
    text = F.nll_loss(mine[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    return (1 - label_loss) * soft + label_loss * text


def _divergence(mine: Tensor, teacher: Output) -> Tensor:
    theirs = F.linear(*teacher).float().log_softmax(-1)
    return (theirs.exp() * (theirs - mine)).sum(-1).mean()


class Teacher:
    """The dense model's outputs for the training windows.

    A window's outputs are computed when it is first trained on. On a GPU with room for all of them
    they are kept, so that later passes over the text need no teacher: per token ``h`` numbers of
    bfloat16, 31 GB for 40 million tokens at h = 384.

    Parameters
    ----------
    model : Student
        The teacher: made of a dense checkpoint.
    windows : (windows, window) uint16
    device : torch.device
    """

    def __init__(self, model: Student, windows: NDArray[np.uint16], device: torch.device) -> None:
        self._model, self._windows, self._device = model.eval(), windows, device
        model.compile_layers()
        self._kept: Tensor | None = None
        self._known = np.zeros(len(windows), dtype=np.bool_)
        if device.type == "cuda":
            shape = (*windows.shape, model.config.d_model)
            if 2 * np.prod(shape) < CACHE_SHARE * torch.cuda.mem_get_info()[0]:
                self._kept = torch.empty(shape, dtype=model.work, device=device)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def __call__(self, rows: NDArray[np.int64]) -> Output:
        """Return `Student.forward`'s result for the windows ``rows``."""
        if self._kept is None:
            output: Output = self._model(to_tensor(self._windows[rows], self._device))
            return output
        index = torch.from_numpy(rows).to(self._device)
        if not self._known[rows].all():
            self._kept[index] = self._model(to_tensor(self._windows[rows], self._device))[0]
            self._known[rows] = True
        return self._kept[index], self._head()

    def _head(self) -> Tensor:
        head = self._model.embeddings if self._model.lm_head is None else self._model.lm_head
        return head().to(self._model.work)


def to_tensor(windows: NDArray[np.uint16], device: torch.device) -> Tensor:
    """Windows as a model takes them: int64 on the device."""
    return torch.from_numpy(windows.astype(np.int64)).to(device)


@dataclass(frozen=True)
class Distance:
    """How far a student is from its teacher on some windows.

    Attributes
    ----------
    divergence : float
        Mean KL(teacher || student), nats per token.
    ratio : float
        The student's perplexity over the teacher's.
    """

    divergence: float
    ratio: float


@torch.no_grad()  # type: ignore[untyped-decorator]
def distance(
    student: Student,
    teacher: Student,
    windows: NDArray[np.uint16],
    device: torch.device,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Distance:
    """Measure on windows (windows, window) that were not trained on; tells those that are done."""
    far, excess = 0.0, 0.0
    tokens_together = CPU_EVALUATION_TOKENS if device.type == "cpu" else EVALUATION_TOKENS
    together = max(1, tokens_together // windows.shape[1])
    with torch.compiler.set_stance("force_eager"):  # too few steps to be worth a compilation
        for first in range(0, len(windows), together):
            tell(first, len(windows))
            tokens = to_tensor(windows[first : first + together], device)
            mine, theirs = student(tokens), teacher(tokens)
            far += float(divergence(mine, theirs)) * len(tokens)
            excess += float(_loss(mine, tokens) - _loss(theirs, tokens)) * len(tokens)
    return Distance(far / len(windows), exp(excess / len(windows)))


def _loss(output: Output, tokens: Tensor) -> Tensor:
    last, head = output
    logits = F.linear(last[:, :-1], head).float()
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
