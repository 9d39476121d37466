"""config.json is read strictly: what is not supported is refused by name."""

import json
import re

import numpy as np
import pytest

from tvm_c4n.assets import ROOT
from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.config import check_tensors, check_values
from tvm_c4n.model.description import Norm
from tvm_c4n.model.families import FAMILIES, describe_model
from tvm_c4n.model.families.mamba import mamba_config

HF = json.loads((ROOT / "mamba-19m" / "config.json").read_text())
MAMBA2 = {
    "model_type": "mamba2",
    "vocab_size": 8,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_heads": 2,
    "head_dim": 8,
    "n_groups": 1,
    "state_size": 4,
}


def test_sizes_of_the_embedded_model():
    config = describe_model(HF)
    assert (config.vocab_size, config.d_model, config.n_layer) == (8192, 384, 16)
    assert config.sizes == {"inner": 768, "state": 16, "conv": 4, "dt_rank": 24}
    assert config.final_norm == Norm("backbone.norm_f.weight", 1e-5)
    assert config.tie_embeddings
    assert config.tensor_shapes()["backbone.layers.15.mixer.conv1d.bias"] == (768,)


def test_every_tensor_of_the_embedded_model_is_expected_and_present():
    checkpoint = open_checkpoint("mamba-19m")
    config = describe_model(HF)
    check_tensors(config, checkpoint)
    assert sorted(config.tensor_shapes()) == checkpoint.names()


def test_defaults_of_absent_keys():
    absent = ("intermediate_size", "time_step_rank", "use_conv_bias", "tie_word_embeddings")
    config = describe_model({k: v for k, v in HF.items() if k not in absent})
    assert config == describe_model(HF)


def test_untied_head_and_no_conv_bias_change_the_tensors():
    config = describe_model({**HF, "tie_word_embeddings": False, "use_conv_bias": False})
    shapes = config.tensor_shapes()
    assert shapes["lm_head.weight"] == (8192, 384)
    assert not any("conv1d.bias" in name for name in shapes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "llama"},
            f"model_type 'llama' is not supported, only: {', '.join(FAMILIES)}",
        ),
        (
            {"model_type": "mamab"},
            f"{', '.join(FAMILIES)}; the nearest that works is mamba",
        ),
        (
            {"model_type": "granite"},
            f"{', '.join(FAMILIES)}; the nearest that works is granitemoehybrid",
        ),
        ({"model_type": None}, "has no model_type, supported: mamba, falcon_mamba"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"use_bias": "no"}, "use_bias='no': is not true or false"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"hidden_size": "384"}, "hidden_size='384'"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000"),
        ({"vocab_size": None}, "lacks vocab_size"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon=0.0: is not between 0 and 1"),
        ({"state_size": True}, "state_size=True"),
        ({"expand": [-1]}, "expand=[-1]: is not a positive number"),
        ({"expand": "x"}, "expand='x': is not a positive number"),
        ({"expand": True}, "expand=True: is not"),
        ({"expand": -1}, "expand=-1: is not"),
        ({"expand": 1e300}, "expand=1e+300: is not"),
        ({"hidden_size": [1]}, "hidden_size=[1]: is not"),
        ({"time_step_rank": {}}, "time_step_rank={}: is not a whole number"),
        ({"intermediate_size": "wide"}, "intermediate_size='wide': is not a whole number"),
    ],
)
def test_unsupported_configs_are_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        describe_model({**HF, **change})
    assert "\n" not in str(caught.value)


def test_check_names_a_missing_and_a_misshapen_tensor(tiny):
    config, tensors = tiny
    check_tensors(config, ArrayCheckpoint({}, tensors))
    name = config.projection(1, "out_proj")
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} is missing"):
        check_tensors(config, ArrayCheckpoint({}, {k: v for k, v in tensors.items() if k != name}))
    wrong = {**tensors, name: np.zeros((3, 5), dtype=np.float32)}
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} has shape \[3, 5\]"):
        check_tensors(config, ArrayCheckpoint({}, wrong))


def test_rows_that_are_missing_are_named_as_the_folder_has_them():
    """A C4n folder has rows apart, a Hugging Face folder the tensor that they lie in."""
    config = describe_model(MAMBA2)
    apart = {name: np.ones(shape, np.float32) for name, shape in config.tensor_shapes().items()}
    check_tensors(config, ArrayCheckpoint({}, apart))
    rows = config.projection(1, "bcdt_proj")
    assert ".rows_" in rows
    left = {name: values for name, values in apart.items() if name != rows}
    with pytest.raises(CheckpointError, match=rf"tensor {re.escape(rows)} is missing"):
        check_tensors(config, ArrayCheckpoint({}, left))
    whole = dict(apart)
    for layer in range(2):
        names = [config.projection(layer, name) for name in ("in_proj", "bcdt_proj")]
        source = names[0].partition(".rows_")[0]
        whole[source] = np.concatenate([whole.pop(name) for name in names])
    check_tensors(config, ArrayCheckpoint({}, whole))
    del whole[source]
    with pytest.raises(CheckpointError, match=rf"tensor {re.escape(source)} is missing"):
        check_tensors(config, ArrayCheckpoint({}, whole))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name", ["backbone.norm_f.weight", "backbone.layers.1.mixer.out_proj.weight"]
)
def test_values_that_are_not_finite_are_named_with_their_place(name, value):
    config = mamba_config(
        vocab_size=3, d_model=4, d_inner=8, n_layer=2, d_state=2, d_conv=2, dt_rank=1
    )
    tensors = {n: np.ones(s, np.float32) for n, s in config.tensor_shapes().items()}
    checkpoint = ArrayCheckpoint(HF, tensors)
    check_values(config, checkpoint)
    place = (3,) if tensors[name].ndim == 1 else (2, 5)
    tensors[name][place] = value
    with pytest.raises(CheckpointError) as caught:
        check_values(config, ArrayCheckpoint(HF, tensors))
    assert f"tensor {name} has {value} at {list(place)};" in str(caught.value)


def test_embeddings_of_zeros_are_named():
    config = mamba_config(
        vocab_size=3, d_model=4, d_inner=8, n_layer=1, d_state=2, d_conv=2, dt_rank=1
    )
    tensors = {n: np.zeros(s, np.float32) for n, s in config.tensor_shapes().items()}
    with pytest.raises(CheckpointError, match=r"backbone\.embeddings\.weight is all zeros"):
        check_values(config, ArrayCheckpoint(HF, tensors))


def test_a_decay_beyond_all_numbers_is_named():
    config = mamba_config(
        vocab_size=3, d_model=4, d_inner=8, n_layer=1, d_state=2, d_conv=2, dt_rank=1
    )
    tensors = {n: np.ones(s, np.float32) for n, s in config.tensor_shapes().items()}
    tensors["backbone.layers.0.mixer.A_log"][3, 1] = 81
    with pytest.raises(CheckpointError, match=r"mixer\.A_log has 81\.0 at \[3, 1\], the logarithm"):
        check_values(config, ArrayCheckpoint(HF, tensors))
