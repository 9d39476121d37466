"""How far a student is from its teacher."""

from math import exp

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.distil import Teacher, distance, divergence, objective
from tvm_c4n.healing.student import Student
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference

CPU = torch.device("cpu")


def student_of(folder):
    checkpoint = open_checkpoint(folder)
    return Student(checkpoint, describe_model(checkpoint.config), CPU)


def windows_of(count=3, length=12):
    return np.random.default_rng(2).integers(0, 96, (count, length)).astype(np.uint16)


def test_the_divergence_is_zero_only_between_equals():
    generator = torch.Generator().manual_seed(4)
    last, head = (torch.randn(*shape, generator=generator) for shape in ((2, 3, 8), (16, 8)))
    assert float(divergence((last, head), (last, head))) == 0
    log_p, log_q = ((x @ head.T).double().log_softmax(-1) for x in (last, 2 * last))
    expected = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    found = divergence((2 * last, head), (last, head))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_objective_is_the_divergence_and_a_share_of_the_text():
    generator = torch.Generator().manual_seed(5)
    last, head = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 8), (16, 8)))
    tokens = torch.randint(16, (2, 5), generator=generator)
    student, teacher = (2 * last, head), (last, head)
    far = float(divergence(student, teacher))
    assert float(objective(student, teacher, tokens, 0.0)) == far
    log_p = (2 * last @ head.T).double().log_softmax(-1)
    text = -log_p[:, :-1].gather(2, tokens[:, 1:, None]).mean()
    found = float(objective(student, teacher, tokens, 0.25))
    assert found == pytest.approx(0.75 * far + 0.25 * float(text), rel=1e-5)


def test_the_distance_is_that_of_the_references_logits(pruned, small_model):
    windows = windows_of()
    found = distance(student_of(pruned), student_of(small_model), windows, CPU)
    logs = []
    for folder in (pruned, small_model):
        checkpoint = open_checkpoint(folder)
        config = describe_model(checkpoint.config)
        logits = [Reference(config, checkpoint.dense).prefill(row) for row in windows]
        logs.append(torch.from_numpy(np.stack(logits)).log_softmax(-1).numpy())
    ours, theirs = logs
    assert found.divergence == pytest.approx(
        (np.exp(theirs) * (theirs - ours)).sum(-1).mean(), rel=1e-3
    )
    following = windows[:, 1:, None].astype(np.int64)
    losses = [-np.take_along_axis(log[:, :-1], following, 2).mean() for log in logs]
    assert found.ratio == pytest.approx(exp(losses[0] - losses[1]), rel=1e-3)


def test_a_model_is_at_no_distance_from_itself(small_model):
    student = student_of(small_model)
    found = distance(student, student, windows_of(), CPU)
    assert (found.divergence, found.ratio) == (0, 1)


def test_the_teacher_gives_the_outputs_of_the_windows_that_are_asked_for(small_model):
    model, windows = student_of(small_model), windows_of()
    last, head = Teacher(model, windows, CPU)(np.array([2, 0]))
    expected, same_head = model(torch.from_numpy(windows[[2, 0]].astype(np.int64)))
    torch.testing.assert_close(last, expected.detach())
    torch.testing.assert_close(head, same_head.detach())
    assert not last.requires_grad
