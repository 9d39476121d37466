"""Random models of two layers in their authors' formats, and transformers' model of the same.

Names and shapes are written down here as mamba_ssm has them; nothing is asked of the package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from tests.models import write_tokenizer

VOCABULARY = 93  # padded to 96, the tokens of `write_tokenizer`
# Of Mamba-1: 16 hidden channels, 32 inner ones, rank 1. Of Mamba-2: 4 heads of 8 channels, state 6.
MAMBA1: dict[str, Any] = {
    "d_model": 16,
    "n_layer": 2,
    "vocab_size": VOCABULARY,
    "ssm_cfg": {},
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
    "pad_vocab_size_multiple": 8,
}
MAMBA2: dict[str, Any] = {
    **MAMBA1,
    "d_intermediate": 0,
    "attn_layer_idx": [],
    "attn_cfg": {},
    "ssm_cfg": {"layer": "Mamba2", "headdim": 8, "d_state": 6, "ngroups": 2},
    "pad_vocab_size_multiple": 16,
    "tie_embeddings": True,
}
# What Mistral's params.json cannot say is fixed: heads of 64 channels, a state of 128.
CODESTRAL: dict[str, Any] = {
    "dim": 64,
    "n_layers": 2,
    "vocab_size": 96,
    "n_groups": 2,
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
    "pad_vocab_size_multiple": 1,
    "tie_embeddings": False,
    "model_type": "mamba",
}
_MAMBA1_SHAPES = {
    "A_log": (32, 16),
    "D": (32,),
    "conv1d.bias": (32,),
    "conv1d.weight": (32, 1, 4),
    "dt_proj.bias": (32,),
    "dt_proj.weight": (32, 1),
    "in_proj.weight": (64, 16),
    "out_proj.weight": (16, 32),
    "x_proj.weight": (33, 32),
}


def _mamba2_shapes(hidden: int, heads: int, width: int, state: int, groups: int) -> dict[str, Any]:
    inner, shared = heads * width, 2 * groups * state
    return {
        "A_log": (heads,),
        "D": (heads,),
        "conv1d.bias": (inner + shared,),
        "conv1d.weight": (inner + shared, 1, 4),
        "dt_bias": (heads,),
        "in_proj.weight": (2 * inner + shared + heads, hidden),
        "norm.weight": (inner,),
        "out_proj.weight": (hidden, inner),
    }


def tensors_of(config: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return random tensors under mamba_ssm's names, the head as well; A_log and D are float32."""
    hidden, mixer = config.get("d_model", 64), _MAMBA1_SHAPES
    if config["ssm_cfg"].get("layer") == "Mamba2" if "ssm_cfg" in config else True:
        small = "ssm_cfg" in config
        mixer = _mamba2_shapes(hidden, *((4, 8, 6, 2) if small else (2, 64, 128, 2)))
    shapes: dict[str, Any] = {"backbone.embedding.weight": (96, hidden)}
    for layer in range(2):
        prefix = f"backbone.layers.{layer}."
        shapes[prefix + "norm.weight"] = (hidden,)
        shapes |= {f"{prefix}mixer.{name}": shape for name, shape in mixer.items()}
    shapes["backbone.norm_f.weight"] = (hidden,)
    shapes["lm_head.weight"] = (96, hidden)
    generator = torch.Generator().manual_seed(7)
    found = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        if "norm" in name or name.endswith(".D"):
            values = 1 + 0.1 * values
        if "embedding" in name:
            values = values * hidden**0.5
        exact = name.endswith((".D", "A_log"))
        found[name] = values if exact else values.to(dtype)
    if config.get("tie_embeddings", True):
        found["lm_head.weight"] = found["backbone.embedding.weight"]
    return found


def write_original(
    folder: Path,
    config: dict[str, Any],
    tensors: dict[str, Any] | None = None,
    file: str = "pytorch_model.bin",
) -> Path:
    """Write a folder as state-spaces, or Mistral, publish it; Mistral's has a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = tensors_of(config) if tensors is None else tensors
    if "dim" in config:
        (folder / "params.json").write_text(json.dumps(config))
        own = {f"model.{name}": tensor.clone() for name, tensor in tensors.items()}
        save_file(own, folder / "consolidated.safetensors")
        write_tokenizer(folder)
        return folder
    (folder / "config.json").write_text(json.dumps(config))
    if file.endswith(".bin"):
        torch.save(tensors, folder / file)
    else:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / file)
    return folder


def theirs_of(config: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """Return transformers' model in float64, its config and the names of tensors as literals."""
    common = {"vocab_size": 96, "num_hidden_layers": 2, "conv_kernel": 4, "expand": 2}
    if "dim" in config:
        made = transformers.Mamba2Config(
            **common,
            hidden_size=64,
            num_heads=2,
            head_dim=64,
            n_groups=2,
            state_size=128,
            tie_word_embeddings=False,
        )
    elif config["ssm_cfg"]:
        made = transformers.Mamba2Config(
            **common,
            hidden_size=16,
            num_heads=4,
            head_dim=8,
            n_groups=2,
            state_size=6,
            tie_word_embeddings=config["tie_embeddings"],
        )
    else:
        made = transformers.MambaConfig(
            **common,
            hidden_size=16,
            state_size=16,
            time_step_rank=1,
            tie_word_embeddings=config.get("tie_embeddings", True),
        )
    model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    pairs = {"backbone.embedding.weight": "backbone.embeddings.weight"}
    state = {pairs.get(name, name): tensor.float() for name, tensor in tensors.items()}
    model.load_state_dict(state, strict=True)
    return model.double().eval()
