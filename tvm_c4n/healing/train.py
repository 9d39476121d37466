"""The optimisation: what one step does, and what a run must keep to go on after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi

import torch
from torch import Tensor, nn

from tvm_c4n.healing.distil import objective
from tvm_c4n.healing.processes import Processes, Spread, sharded_like
from tvm_c4n.healing.settings import HealSettings
from tvm_c4n.healing.student import Output, Student

BETAS = (0.9, 0.98)
CLIP = 1.0
# Steps between two choices of the masks that may move; removed weights then shrink by
# DECAY * learning rate * RESELECT_STEPS.
RESELECT_STEPS = 10
DECAY = 1.0


class Trainer:
    """A student and its optimiser (AdamW without weight decay; Loshchilov and Hutter, 2019).

    Parameters
    ----------
    student : Student
    settings : HealSettings
    spread : Spread, optional
        Of the student, where several processes train it.
    """

    def __init__(
        self, student: Student, settings: HealSettings, spread: Spread | None = None
    ) -> None:
        self.student, self._settings = student, settings
        self._spread = spread or Spread(student, Processes(next(student.parameters()).device))
        self._matrices = list(student.stored().values())
        fused = next(student.parameters()).is_cuda
        self._optimizer = torch.optim.AdamW(
            student.parameters(), lr=settings.lr, betas=BETAS, weight_decay=0.0, fused=fused
        )
        self._objective = torch.compile(objective, dynamic=False) if fused else objective
        for parameter in student.parameters():
            # The state that AdamW makes in its first step, made here, so that it can be loaded.
            self._optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def rate(self, step: int) -> float:
        """Learning rate: a linear rise, then a cosine to 0."""
        settings = self._settings
        rise = max(1, round(settings.warmup * settings.steps))
        fall = 0.5 * (1 + cos(pi * step / settings.steps))
        return settings.lr * min(1.0, (step + 1) / rise) * fall

    def step(self, number: int, parts: Sequence[Callable[[], tuple[Tensor, Output]]]) -> Tensor:
        """Train on one batch; returns its `objective`, still on the device.

        Parameters
        ----------
        number : int
            Steps done before.
        parts : sequence of callables
            Each gives a part of the batch, tokens (b, t) int64 and what the teacher says of them;
            all are of the same size. One is in memory at a time.
        """
        rate = self.rate(number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses = []
        for done, part in enumerate(parts, 1):
            tokens, teacher = part()
            with self._spread.averaging(done == len(parts)):
                loss: Tensor = self._objective(
                    self._spread(tokens), teacher, tokens, self._settings.label_loss
                )
                (loss / len(parts)).backward()
            losses.append(loss.detach())
        moving = number < self._settings.mask_update_fraction * self._settings.steps
        if not moving:
            self._drop_removed()
        nn.utils.clip_grad_norm_(self.student.parameters(), CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if moving and number % RESELECT_STEPS == RESELECT_STEPS - 1:
            for matrix in self._matrices:
                curvature = self._optimizer.state[matrix.weight]["exp_avg_sq"]
                matrix.reselect(curvature, DECAY * rate * RESELECT_STEPS)
        return torch.stack(losses).mean()

    def _drop_removed(self) -> None:
        """Take the gradients of removed weights out, so that clipping does not count them."""
        pruned = [m for m in self._matrices if m.removed]
        for matrix in pruned:
            gradient = matrix.weight.grad
            gradient.mul_(sharded_like(gradient, matrix.mask))

    def tensors(self) -> dict[str, Tensor]:
        """All that a run must keep, by name."""
        found: dict[str, Tensor] = dict(self.student.state_dict(keep_vars=True))
        for name, parameter in self.student.named_parameters():
            for part, value in self._optimizer.state[parameter].items():
                found[f"{name}:{part}"] = value
        return found
