"""Authors' configs in Hugging Face's words, and what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.frontend.original.made import CODESTRAL, MAMBA1, MAMBA2
from tvm_c4n.errors import CheckpointError
from tvm_c4n.frontend.original.config import of_codestral, of_state_spaces


def test_the_published_models_have_the_configs_of_their_converted_ones() -> None:
    """As the config.json of state-spaces/mamba-130m-hf and AntonV/mamba2-130m-hf have them."""
    published = {**MAMBA1, "d_model": 768, "n_layer": 24, "vocab_size": 50277}
    expected = {
        "model_type": "mamba", "vocab_size": 50280, "hidden_size": 768, "intermediate_size": 1536,
        "num_hidden_layers": 24, "state_size": 16, "conv_kernel": 4, "time_step_rank": 48,
        "expand": 2, "use_bias": False, "use_conv_bias": True, "tie_word_embeddings": True,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "layer_norm_epsilon": 1e-5,
        "hidden_act": "silu", "residual_in_fp32": True,
    }  # fmt: skip
    assert of_state_spaces(published) == expected
    second = {**published, "ssm_cfg": {"layer": "Mamba2"}, "pad_vocab_size_multiple": 16}
    found = of_state_spaces(second)
    sizes = ("num_heads", "head_dim", "n_groups", "state_size", "vocab_size")
    assert [found[name] for name in sizes] == [24, 64, 1, 128, 50288]
    codestral = of_codestral({**CODESTRAL, "dim": 4096, "n_layers": 64, "vocab_size": 32768})
    assert [codestral[name] for name in sizes] == [128, 64, 2, 128, 32768]
    assert codestral["tie_word_embeddings"] is False


def test_sizes_of_the_mixer_are_read() -> None:
    ssm = {"d_state": 8, "d_conv": 3, "expand": 3, "dt_rank": 5, "bias": True, "conv_bias": False}
    found = of_state_spaces({**MAMBA1, "ssm_cfg": {**ssm, "dt_min": 0.1, "use_fast_path": False}})
    assert (found["state_size"], found["conv_kernel"], found["time_step_rank"]) == (8, 3, 5)
    assert (found["intermediate_size"], found["use_bias"], found["use_conv_bias"]) == (48, 1, 0)
    assert of_state_spaces({**MAMBA1, "ssm_cfg": None})["state_size"] == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attn_layer_idx": [3]}, "attn_layer_idx=[3]: layers with attention are not supported"),
        ({"d_intermediate": 64}, "d_intermediate=64: layers with an MLP are not supported"),
        ({"rms_norm": False}, "rms_norm is False; only True is supported"),
        ({"d_model": None}, "config.json lacks d_model"),
        ({"vocab_size": 0}, "config.json: vocab_size=0: is not in 1.."),
        ({"ssm_cfg": 3}, "ssm_cfg=3: is not an object"),
        (
            {"ssm_cfg": {"layer": "Mamba3"}},
            "ssm_cfg: layer='Mamba3': only 'Mamba1' and 'Mamba2' are",
        ),
        ({"ssm_cfg": {"layer": ["Mamba1"]}}, "layer=['Mamba1']: only"),
        ({"ssm_cfg": {"gated": True}}, "ssm_cfg: 'gated' is not known"),
        ({"ssm_cfg": {"headdim": 8}}, "ssm_cfg: 'headdim' is not known"),
        ({"ssm_cfg": {"d_state": 0}}, "config.json: ssm_cfg: d_state=0: is not in 1..1024"),
        ({"ssm_cfg": {"expand": 1.5}}, "ssm_cfg: expand=1.5: is not a whole number"),
    ],
)
def test_what_is_not_supported_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        of_state_spaces({**MAMBA1, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rmsnorm": False}, "rmsnorm is False"),
        ({"norm_before_gate": True}, "norm_before_gate is True"),
        ({"D_has_hdim": True}, "D_has_hdim is True"),
        ({"d_ssm": 16}, "d_ssm is 16; only None or 32"),
        ({"headdim": 5}, "headdim=5: does not divide the 32 inner channels"),
    ],
)
def test_forms_of_mamba_2_that_transformers_lacks_are_named(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        of_state_spaces({**MAMBA2, "ssm_cfg": {**MAMBA2["ssm_cfg"], **change}})
    assert message in str(caught.value)


def test_other_models_of_mistral_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"params.json: model_type=None: only 'mamba'"):
        of_codestral({"dim": 4096, "n_layers": 32, "n_heads": 32, "vocab_size": 32000})
    with pytest.raises(CheckpointError, match=r"params\.json lacks dim"):
        of_codestral({"model_type": "mamba", "n_layers": 2, "vocab_size": 9})
