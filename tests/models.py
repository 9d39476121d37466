"""A Mamba folder of some 50 kB with random weights, a tokenizer of 96 words, and text for both.

`tests/conftest.py` has them as the fixtures `small_model` and `words`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model

VOCABULARY = 96
HF = {
    "model_type": "mamba",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 8,
    "rescale_prenorm_residual": False,
    "tie_word_embeddings": True,
}
# A Granite 4.0-H that reads texts of 64 tokens.
HYBRID = {
    "model_type": "granitemoehybrid",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 0,
    "shared_intermediate_size": 48,
    "mamba_n_heads": 4,
    "mamba_d_state": 8,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
# The same with four experts, two of them for each token.
EXPERTS = {
    **HYBRID,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "intermediate_size": 64,
}


def random_tensors(config: ModelConfig, seed: int = 3) -> dict[str, NDArray[np.float16]]:
    """Return weights of a size that makes logits far from flat, and A as in a trained Mamba."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        if "norm" in name or name.endswith(".D"):
            values = 1 + 0.1 * values
        if name.endswith("A_log"):
            values = np.broadcast_to(np.log(np.arange(1, shape[-1] + 1)), shape)
        tensors[name] = values.astype(np.float16)
    return tensors


def write_model(
    folder: Path, hf: Mapping[str, Any] = HF, tensors: Mapping[str, NDArray[Any]] | None = None
) -> Path:
    """Write a Hugging Face folder without a tokenizer; `random_tensors` if none are given."""
    folder.mkdir(parents=True, exist_ok=True)
    if tensors is None:
        tensors = random_tensors(describe_model(dict(hf)))
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(dict(hf)))
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer: ``w1`` to ``w95`` are the tokens 1 to 95, spaces part them.

    It starts texts with ``<|endoftext|>``.
    """
    end = "<|endoftext|>"
    vocabulary = {end: 0, **{f"w{i}": i for i in range(1, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.add_special_tokens([end])
    tokenizer.post_processor = processors.TemplateProcessing(f"{end} $A", special_tokens=[(end, 0)])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_byte_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes, some of which are parts of characters; it has 96 tokens, too.

    It starts texts with ``<|endoftext|>``.
    """
    end, merges = "<|endoftext|>", [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ã", "©")]
    # Byte-level characters: letters, spaces and signs, and bytes of é, €, 😀 and of nothing.
    alphabet = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *"ĠĊ.,!?'0123456789"]
    alphabet += [*"Ã©âĤ¬ðŁĺĢÿ"]
    tokens = [end, *alphabet, *("".join(pair) for pair in merges)]
    tokens += [f"w{i}" for i in range(VOCABULARY - len(tokens))]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, merges)
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens([end])
    tokenizer.post_processor = processors.TemplateProcessing(f"{end} $A", special_tokens=[(end, 0)])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_words(path: Path, documents: int = 40) -> Path:
    """Write a JSONL file of documents, each of 100 random words that the tokenizer knows."""
    rng = np.random.default_rng(5)
    lines = [" ".join(f"w{i}" for i in rng.integers(1, VOCABULARY, 100)) for _ in range(documents)]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path
