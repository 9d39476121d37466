"""The model that is trained is the model that runs."""

import numpy as np
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.healing.student import Student
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.run import prune

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


def test_torch_compile_sees_one_graph_and_all_layers_alike(pruned):
    """On a GPU layers are compiled; graphs in pieces or anew for each layer cost half the speed."""
    checkpoint = open_checkpoint(pruned)
    config = describe_model(checkpoint.config)
    layers, hidden = Student(checkpoint, config, CPU).layers, torch.randn(1, 4, config.d_model)
    found = torch._dynamo.explain(layers[0])(hidden)
    assert (found.graph_count, found.graph_break_count) == (1, 0)
    for layer in layers:
        layer.compile(dynamic=False, backend="eager")
    layers[0](hidden)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert len(layers) > 1
        layers[1](hidden)


def test_layers_of_a_mixture_are_alike_to_torch_compile(small_model, words, tmp_path):
    """They are as many kinds as there are layers otherwise, more than torch compiles at most."""
    mixed = Recipe(
        removed={"layers.0.in_proj": 2, "layers.1.in_proj": 3},
        dtypes={"layers.0.in_proj": "int4", "layers.1.in_proj": "int2", "out_proj": "int3"},
        dtype="int8", samples=4, sample_tokens=32,
    )  # fmt: skip
    prune(small_model, tmp_path / "out", mixed, calibration=words, dense_export=False)
    checkpoint = open_checkpoint(tmp_path / "out")
    config = describe_model(checkpoint.config)
    layers, hidden = Student(checkpoint, config, CPU).layers, torch.randn(1, 4, config.d_model)
    expected = layers[1](hidden)
    torch.compiler.reset()
    for layer in layers:
        layer.compile(dynamic=False, backend="eager")
    layers[0](hidden)
    with torch.compiler.set_stance("fail_on_recompile"):
        torch.testing.assert_close(layers[1](hidden), expected)
