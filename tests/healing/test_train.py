"""A step of the optimisation: its rate, what it moves, and that a run resumes to equal bytes."""

from math import cos, pi

import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.student import Student
from tvm_c4n.healing.train import RESELECT_STEPS, Trainer
from tvm_c4n.model.families import describe_model

CPU = torch.device("cpu")


@pytest.fixture
def start(pruned, small_model, settings):
    """``make(**changes)``: a trainer, and a function that does one step of it."""

    def make(**changes):
        models = []
        for folder in (pruned, small_model):
            checkpoint = open_checkpoint(folder)
            models.append(Student(checkpoint, describe_model(checkpoint.config), CPU))
        trainer = Trainer(models[0], settings(**changes))

        def step(number):
            generator = torch.Generator().manual_seed(number)
            tokens = torch.randint(96, (4, 16), generator=generator)
            with torch.no_grad():
                teacher = models[1](tokens)
            return float(trainer.step(number, [lambda: (tokens, teacher)]))

        return trainer, step

    return make


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(start):
    trainer, _ = start(steps=40, warmup=0.1, lr=1e-2)
    rates = [trainer.rate(step) for step in range(41)]
    fall = [0.5 * (1 + cos(pi * step / 40)) for step in range(41)]
    rise = [0.25, 0.5, 0.75] + [1.0] * 38
    assert rates == pytest.approx([1e-2 * r * f for r, f in zip(rise, fall, strict=True)])
    assert rates[-1] == 0


def test_steps_lower_the_loss_and_move_no_mask(start):
    trainer, step = start(steps=30)
    masks = [m.mask.clone() for m in trainer.student.stored().values()]
    losses = [step(number) for number in range(30)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    after = [m.mask for m in trainer.student.stored().values()]
    assert all(torch.equal(old, new) for old, new in zip(masks, after, strict=True))


def test_masks_move_at_their_steps_only(start):
    trainer, step = start(steps=40, mask_update_fraction=0.5)
    matrices = [m for m in trainer.student.stored().values() if m.removed]

    def masks():
        return torch.cat([m.mask.flatten() for m in matrices]).clone()

    moved = []
    for number in range(30):
        before = masks()
        step(number)
        if not torch.equal(before, masks()):
            moved.append(number)
    assert moved
    assert set(moved) <= {RESELECT_STEPS - 1, 2 * RESELECT_STEPS - 1}


def test_a_trainer_resumes_from_its_tensors_to_the_same_weights(start):
    trainer, step = start(steps=20)
    other, step_other = start(steps=20)
    for number in range(3):
        step(number)
    with torch.no_grad():
        for name, tensor in other.tensors().items():
            tensor.copy_(trainer.tensors()[name])
    for number in range(3, 6):
        assert step(number) == step_other(number)
    for name, tensor in trainer.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name
