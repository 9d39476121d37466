"""GGUF files hold the checkpoint's numbers under llama.cpp's names."""

import numpy as np
import pytest

from benchmarks.random_models import SHAPES, config_of
from tests.models import write_model
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.checkpoint.whole_tensors import WholeTensors
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import describe_model

gguf = pytest.importorskip("gguf", reason="pip install 'tvm-c4n[gguf]'")

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
    rows = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    whole = WholeTensors(ArrayCheckpoint(config, rows))
    tensors = {name: whole.dense(name) for name in whole.names()}
    write_model(folder, config, tensors)
    return tensors


def test_tensors_are_those_of_the_checkpoint(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    tensors = write(tmp_path / "model", HF)
    reader = gguf.GGUFReader(write_gguf(tmp_path / "model", tmp_path / "m.gguf"))
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    layer = "backbone.layers.0.mixer."
    in_proj = tensors[layer + "in_proj.weight"].astype(np.float16)
    np.testing.assert_array_equal(found["blk.0.ssm_in.weight"], in_proj)
    a = -np.exp(tensors[layer + "A_log"])
    np.testing.assert_allclose(found["blk.0.ssm_a"], a, rtol=1e-6)
    conv = tensors[layer + "conv1d.weight"][:, 0]
    np.testing.assert_array_equal(found["blk.0.ssm_conv1d.weight"], conv)
    assert "output.weight" not in found  # tied


def tiny(size):
    """Return a published config.json with fewer and narrower layers."""
    config = config_of(size) | {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 300}
    for name in config:
        if name in ("num_heads", "mamba_n_heads"):
            config[name] = 4
        elif name in ("head_dim", "mamba_d_head"):
            config[name] = 16
        elif name.endswith("intermediate_size"):
            config[name] = 48
    changed = {"mamba_d_ssm": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    kinds = {"layer_types": ["mamba", "attention"]}
    return config | {name: value for name, value in (changed | kinds).items() if name in config}


def converted(folder, config):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    tensors = write(folder / "model", config)
    reader = gguf.GGUFReader(write_gguf(folder / "model", folder / "m.gguf"))
    return tensors, {tensor.name: tensor.data for tensor in reader.tensors}


def test_mamba2_has_one_number_a_head(tmp_path):
    tensors, found = converted(tmp_path, tiny("mamba2-130m"))
    mixer = "backbone.layers.1.mixer."
    np.testing.assert_array_equal(found["blk.1.ssm_d"][:, 0], tensors[mixer + "D"])
    np.testing.assert_array_equal(found["blk.1.ssm_dt.bias"], tensors[mixer + "dt_bias"])
    np.testing.assert_array_equal(found["blk.1.ssm_norm.weight"][0], tensors[mixer + "norm.weight"])


def test_granites_gate_and_up_are_two_tensors(tmp_path):
    tensors, found = converted(tmp_path, tiny("granite-4.0-h-350m"))
    both = np.concatenate([found[f"blk.1.ffn_{half}.weight"] for half in ("gate", "up")])
    whole = tensors["model.layers.1.shared_mlp.input_linear.weight"].astype(np.float16)
    np.testing.assert_array_equal(both, whole)
    assert {"blk.0.ssm_in.weight", "blk.1.attn_q.weight"} < set(found)
    assert "blk.1.ssm_in.weight" not in found


def test_falcons_multipliers_are_in_its_weights(tmp_path):
    config = tiny("falcon-h1-0.5b")
    tensors, found = converted(tmp_path, config)
    layer = "model.layers.1."
    z, _, _, _, dt = config["ssm_multipliers"]
    in_proj = tensors[layer + "mamba.in_proj.weight"] * config["ssm_in_multiplier"]
    np.testing.assert_allclose(found["blk.1.ssm_in.weight"][:64], in_proj[:64] * z, rtol=1e-3)
    np.testing.assert_allclose(found["blk.1.ssm_in.weight"][-4:], in_proj[-4:] * dt, rtol=1e-3)
    down = tensors[layer + "feed_forward.down_proj.weight"] * config["mlp_multipliers"][1]
    np.testing.assert_allclose(found["blk.1.ffn_down.weight"], down, rtol=1e-3)
    assert "blk.1.ffn_norm" in found


def test_qwens_norms_are_whole_and_layers_of_lfm2_have_their_heads(tmp_path):
    small = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8}
    small |= {"linear_value_head_dim": 8, "head_dim": 16, "full_attention_interval": 2}
    kinds = {"layer_types": ["linear_attention", "full_attention"]}
    tensors, found = converted(tmp_path / "q", tiny("qwen3.5-0.8b") | small | kinds)
    norm = tensors["model.layers.1.self_attn.q_norm.weight"] + 1
    np.testing.assert_allclose(found["blk.1.attn_q_norm.weight"], norm, rtol=1e-6)
    inner = tensors["model.layers.0.linear_attn.norm.weight"]
    np.testing.assert_array_equal(found["blk.0.ssm_norm.weight"], inner)
    kinds = {"layer_types": ["conv", "full_attention"]}
    _, found = converted(tmp_path / "l", tiny("lfm2.5-350m") | kinds)
    assert found["blk.0.shortconv.conv.weight"].shape == (32, 3)
    reader = gguf.GGUFReader(tmp_path / "l/m.gguf")
    assert reader.get_field("lfm2.attention.head_count_kv").contents() == [0, 1]


@pytest.mark.parametrize("size", sorted(set(SHAPES) - {"granite-4.0-h-tiny"}))  # has experts
def test_every_tensor_of_a_size_has_a_name(size):
    from benchmarks.llama_cpp.to_gguf import names_of

    names = names_of(describe_model(config_of(size)))
    assert None not in names and len(set(names.values())) == len(names)


def test_shapes_that_llama_cpp_does_not_take_are_refused(tmp_path):
    from benchmarks.llama_cpp.to_gguf import write_gguf

    write(tmp_path / "model", {**HF, "intermediate_size": 96})
    with pytest.raises(CheckpointError, match="twice the hidden"):
        write_gguf(tmp_path / "model", tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf*"))
