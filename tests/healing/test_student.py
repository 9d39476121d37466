"""The model that is trained is the model that runs, and its gradients are right."""

import numpy as np
import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.distil import divergence, objective
from tvm_c4n.healing.scan import scan_by_steps
from tvm_c4n.healing.student import Student
from tvm_c4n.model import MambaConfig
from tvm_c4n.model.reference import Mamba

CPU = torch.device("cpu")


def test_the_logits_are_those_of_the_reference(pruned, small_model):
    for folder in (pruned, small_model):
        checkpoint = open_checkpoint(folder)
        config = MambaConfig.from_hf(checkpoint.config)
        ids = np.random.default_rng(1).integers(0, config.vocab_size, 24)
        last, head = Student(checkpoint, config, CPU)(torch.from_numpy(ids)[None])
        found = (last @ head.T)[0].detach().numpy()
        expected = Mamba(config, checkpoint.dense).prefill(ids)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_every_tensor_of_the_model_is_trained(pruned):
    checkpoint = open_checkpoint(pruned)
    config = MambaConfig.from_hf(checkpoint.config)
    student = Student(checkpoint, config, CPU)
    assert {*student.stored(), *student.vectors()} == set(config.tensor_shapes())
    last, head = student(torch.arange(16)[None])
    (last @ head.T).logsumexp(-1).sum().backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_scan_has_the_gradient_of_its_differences():
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    a = (-torch.rand(3, 4, generator=generator, dtype=torch.float64) * 4).requires_grad_()
    inputs = (draw(2, 5, 4), draw(2, 5, 4), draw(4), a, draw(2, 5, 6))
    assert torch.autograd.gradcheck(scan_by_steps, inputs)


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
