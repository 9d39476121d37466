"""GGUF files hold the checkpoint's numbers under llama.cpp's names."""

import numpy as np
import pytest

from tests.models import write_model
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model

gguf = pytest.importorskip("gguf")

HF = {
    "model_type": "mamba",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 8,
    "rescale_prenorm_residual": False,
}


def write(folder, config):
    rng = np.random.default_rng(0)
    shapes = describe_model(config).tensor_shapes()
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    write_model(folder, config, tensors)
    return tensors


def test_tensors_are_those_of_the_checkpoint(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    tensors = write(tmp_path / "model", HF)
    reader = gguf.GGUFReader(write_gguf(tmp_path / "model", tmp_path / "m.gguf", "F16"))
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    layer = "backbone.layers.0.mixer."
    in_proj = tensors[layer + "in_proj.weight"].astype(np.float16)
    np.testing.assert_array_equal(found["blk.0.ssm_in.weight"], in_proj)
    a = -np.exp(tensors[layer + "A_log"])
    np.testing.assert_allclose(found["blk.0.ssm_a"], a, rtol=1e-6)
    conv = tensors[layer + "conv1d.weight"][:, 0]
    np.testing.assert_array_equal(found["blk.0.ssm_conv1d.weight"], conv)
    assert "output.weight" not in found  # tied


def test_shapes_that_llama_cpp_does_not_take_are_refused(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    write(tmp_path / "model", {**HF, "intermediate_size": 96})
    with pytest.raises(CheckpointError, match="twice the hidden"):
        write_gguf(tmp_path / "model", tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf*"))
