"""A GGUF file's keys, in the words of Hugging Face's config.json.

What the file does not say is as in the published models of its family: the clamp of the step of
Mamba-2 is open, the eps of Falcon-Mamba's inner norms is 1e-6. Falcon-H1's multipliers lie in the
weights, so they are all 1 here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.frontend.gguf.file import GgufFile
from tvm_c4n.model.families.reader import MAX_LAYERS

HEAD = "output.weight"
EMBEDDINGS = "token_embd.weight"
_INNER_EPS = 1e-6


class Keys:
    """Reads the keys of one architecture, whose name stands before each."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.file = file
        self._architecture = architecture

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as it stands."""
        return self.file.values.get(f"{self._architecture}.{key}", default)

    def size(self, key: str) -> int:
        """Return a number that counts something; CheckpointError if there is none."""
        value = self.get(key)
        if type(value) is not int or not 0 < value < 1 << 31:
            raise CheckpointError(
                f"{self.file.path}: {self._architecture}.{key} is {shown(value)}; it should count "
                "something; convert the model again"
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number, as the shortest decimal that is the same float32."""
        value = self.get(key, default)
        if type(value) not in (int, float) or not isfinite(value):
            raise CheckpointError(
                f"{self.file.path}: {self._architecture}.{key} is {shown(value)}; it should be a "
                "number; convert the model again"
            )
        return float(str(np.float32(value)))

    def has(self, tensor: str) -> bool:
        """Say whether any layer has a tensor."""
        layers = range(min(self.size("block_count"), MAX_LAYERS))
        return any(f"blk.{layer}.{tensor}" in self.file.tensors for layer in layers)


def config_of(file: GgufFile) -> dict[str, Any]:
    """Return the config.json of a GGUF file's model.

    Raises
    ------
    CheckpointError
        Of another architecture, or a key is missing or no such value.
    """
    architecture = str(file.values.get("general.architecture"))
    if architecture not in _FAMILIES:
        raise CheckpointError(
            f"{file.path}: has a model of architecture {shown(architecture)}, supported: "
            f"{', '.join(_FAMILIES)}"
        )
    keys = Keys(file, architecture)
    embeddings = file.tensors.get(EMBEDDINGS)
    if embeddings is None:
        raise CheckpointError(f"{file.path}: has no tensor {EMBEDDINGS}, so it holds no model")
    config = {
        "vocab_size": embeddings.shape[0],
        "hidden_size": keys.size("embedding_length"),
        "num_hidden_layers": keys.size("block_count"),
        "tie_word_embeddings": HEAD not in file.tensors,
        "hidden_act": "silu",
    }
    return config | _tokens(file) | _FAMILIES[architecture](keys)


def _tokens(file: GgufFile) -> dict[str, int]:
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "padding": "pad_token_id"}
    found = {
        ours: file.values.get(f"tokenizer.ggml.{name}_token_id") for name, ours in names.items()
    }
    return {name: value for name, value in found.items() if type(value) is int}


def _mamba(keys: Keys) -> dict[str, Any]:
    inner = keys.size("ssm.inner_size")
    found = {
        "model_type": "mamba",
        "intermediate_size": inner,
        "expand": inner // keys.size("embedding_length"),
        "state_size": keys.size("ssm.state_size"),
        "conv_kernel": keys.size("ssm.conv_kernel"),
        "time_step_rank": keys.size("ssm.time_step_rank"),
        "layer_norm_epsilon": keys.number("attention.layer_norm_rms_epsilon"),
        "use_bias": keys.has("ssm_in.bias"),
        "use_conv_bias": keys.has("ssm_conv1d.bias"),
    }
    if keys.get("ssm.dt_b_c_rms") is True:
        found |= {"model_type": "falcon_mamba", "mixer_rms_eps": _INNER_EPS}
    return found


def _mamba2(keys: Keys) -> dict[str, Any]:
    heads, inner = keys.size("ssm.time_step_rank"), keys.size("ssm.inner_size")
    return {
        "model_type": "mamba2",
        "expand": inner // keys.size("embedding_length"),
        "num_heads": heads,
        "head_dim": inner // heads,
        "n_groups": keys.size("ssm.group_count"),
        "state_size": keys.size("ssm.state_size"),
        "conv_kernel": keys.size("ssm.conv_kernel"),
        "layer_norm_epsilon": keys.number("attention.layer_norm_rms_epsilon"),
        "use_bias": keys.has("ssm_in.bias"),
        "use_conv_bias": keys.has("ssm_conv1d.bias"),
    }


def _mixer(keys: Keys) -> dict[str, Any]:
    """Return what hybrids say of their Mamba-2."""
    heads, inner = keys.size("ssm.time_step_rank"), keys.size("ssm.inner_size")
    return {
        "mamba_n_heads": heads,
        "mamba_d_head": inner // heads,
        "mamba_n_groups": keys.size("ssm.group_count"),
        "mamba_d_state": keys.size("ssm.state_size"),
        "mamba_d_conv": keys.size("ssm.conv_kernel"),
        "mamba_conv_bias": keys.has("ssm_conv1d.bias"),
        "mamba_proj_bias": keys.has("ssm_in.bias"),
        "num_attention_heads": keys.size("attention.head_count"),
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": keys.size("context_length"),
    }


def _kv_heads(keys: Keys) -> list[int]:
    """Return the heads of keys and values of each layer, 0 where there is no attention."""
    kv_heads = keys.get("attention.head_count_kv")
    counts = kv_heads if isinstance(kv_heads, list) else [kv_heads]
    if any(type(count) is not int or count < 0 for count in counts) or not any(counts):
        raise CheckpointError(
            f"{keys.file.path}: attention.head_count_kv is {shown(kv_heads)}; it should have a "
            "number of heads for each layer; convert the model again"
        )
    return counts


def _granite_hybrid(keys: Keys) -> dict[str, Any]:
    counts = _kv_heads(keys)
    if keys.get("expert_count", 0):
        raise CheckpointError(
            f"{keys.file.path}: has {shown(keys.get('expert_count'))} experts: of Granite 4.0-H "
            "only dense models are converted; give the folder of Hugging Face"
        )
    rotates = keys.get("rope.scaling.finetuned") is True
    # feed_forward_length is that of the experts, which a dense model has not.
    up = keys.file.tensors.get("blk.0.ffn_up.weight")
    width = keys.size("feed_forward_length") if up is None else up.shape[0]
    theta = {"rope_theta": keys.number("rope.freq_base", 10000.0)} if rotates else {}
    return {
        "model_type": "granitemoehybrid",
        "layer_types": ["attention" if count else "mamba" for count in counts],
        "num_key_value_heads": max(counts),
        "mamba_expand": keys.size("ssm.inner_size") / keys.size("embedding_length"),
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "shared_intermediate_size": width,
        "intermediate_size": width,
        "attention_multiplier": keys.number("attention.scale"),
        "embedding_multiplier": keys.number("embedding_scale"),
        "residual_multiplier": keys.number("residual_scale"),
        "logits_scaling": keys.number("logit_scale"),
        "position_embedding_type": "rope" if rotates else "nope",
        "normalization_function": "rmsnorm",
        "attention_bias": keys.has("attn_q.bias"),
        **theta,
        **_mixer(keys),
    }


def _falcon_h1(keys: Keys) -> dict[str, Any]:
    sides = ("attention_in", "attention_out", "ssm_in", "ssm_out", "key", "embedding", "lm_head")
    return {
        "model_type": "falcon_h1",
        "num_key_value_heads": keys.size("attention.head_count_kv"),
        "head_dim": keys.size("attention.key_length"),
        "intermediate_size": keys.size("feed_forward_length"),
        "mamba_d_ssm": keys.size("ssm.inner_size"),
        "mamba_rms_norm": keys.has("ssm_norm.weight"),
        "mamba_norm_before_gate": False,
        "rope_theta": keys.number("rope.freq_base"),
        **{f"{side}_multiplier": 1.0 for side in sides},
        "ssm_multipliers": [1.0] * 5,
        "mlp_multipliers": [1.0] * 2,
        **_mixer(keys),
    }


def _lfm2(keys: Keys) -> dict[str, Any]:
    counts = _kv_heads(keys)
    return {
        "model_type": "lfm2",
        "layer_types": ["full_attention" if count else "conv" for count in counts],
        "num_attention_heads": keys.size("attention.head_count"),
        "num_key_value_heads": max(counts),
        # The file has the width that the model's rule gives.
        "intermediate_size": keys.size("feed_forward_length"),
        "block_auto_adjust_ff_dim": False,
        "conv_L_cache": keys.size("shortconv.l_cache"),
        "conv_bias": keys.has("shortconv.conv.bias"),
        "norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": keys.number("rope.freq_base"),
        "max_position_embeddings": keys.size("context_length"),
    }


_FAMILIES: Mapping[str, Callable[[Keys], dict[str, Any]]] = {
    "mamba": _mamba,
    "mamba2": _mamba2,
    "granitehybrid": _granite_hybrid,
    "falcon-h1": _falcon_h1,
    "lfm2": _lfm2,
}
