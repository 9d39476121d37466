"""The model that is trained is the model that runs."""

import numpy as np
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.student import Student
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference

CPU = torch.device("cpu")


def test_the_logits_are_those_of_the_reference(pruned, small_model):
    for folder in (pruned, small_model):
        checkpoint = open_checkpoint(folder)
        config = describe_model(checkpoint.config)
        ids = np.random.default_rng(1).integers(0, config.vocab_size, 24)
        last, head = Student(checkpoint, config, CPU)(torch.from_numpy(ids)[None])
        found = (last @ head.T)[0].detach().numpy()
        expected = Reference(config, checkpoint.dense).prefill(ids)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_every_tensor_of_the_model_is_trained(pruned):
    checkpoint = open_checkpoint(pruned)
    config = describe_model(checkpoint.config)
    student = Student(checkpoint, config, CPU)
    assert {*student.stored(), *student.vectors()} == set(config.tensor_shapes())
    last, head = student(torch.arange(16)[None])
    (last @ head.T).logsumexp(-1).sum().backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_a_layer_is_one_graph_for_torch_compile(pruned):
    """On a GPU layers are compiled; every break of the graph would cost a part of their speed."""
    checkpoint = open_checkpoint(pruned)
    config = describe_model(checkpoint.config)
    layer = Student(checkpoint, config, CPU).layers[0]
    found = torch._dynamo.explain(layer)(torch.randn(1, 4, config.d_model))
    assert (found.graph_count, found.graph_break_count) == (1, 0)
