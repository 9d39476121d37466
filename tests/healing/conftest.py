"""A model of two layers, pruned to n=2 and n=3, and text for it."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tvm_c4n.healing import HealSettings
from tvm_c4n.model import MambaConfig
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.run import prune

HF = {
    "model_type": "mamba",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 8,
    "rescale_prenorm_residual": False,
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A Hugging Face folder whose logits are far from flat."""
    folder = tmp_path_factory.mktemp("heal") / "dense"
    folder.mkdir()
    rng = np.random.default_rng(7)
    tensors = {}
    for name, shape in MambaConfig.from_hf(HF).tensor_shapes().items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        if "norm" in name or name.endswith(".D"):
            values = 1 + 0.1 * values
        if name.endswith("A_log"):
            values = np.log(np.arange(1, shape[1] + 1)) + 0 * values
        tensors[name] = values.astype(np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(HF))
    vocabulary = {"<|endoftext|>": 0, **{f"w{i}": i for i in range(1, 64)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """4000 words in 40 documents."""
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("heal-text") / "words.jsonl"
    lines = [" ".join(f"w{i}" for i in rng.integers(1, 64, 100)) for _ in range(40)]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def pruned(model, text, tmp_path_factory):
    """The model at n=3 in in_proj and n=2 in out_proj, int4; x_proj is int4, dt_proj int8."""
    folder = tmp_path_factory.mktemp("heal-pruned") / "pruned"
    recipe = Recipe(
        removed={"in_proj": 3, "out_proj": 2}, dtype="int4", samples=8, sample_tokens=32
    )
    prune(model, folder, recipe, calibration=text, twin=False)
    return folder


@pytest.fixture
def settings():
    """``make(steps, **changes)``: settings of some seconds."""

    def make(steps=40, **changes):
        fields = {"batch": 8, "window": 16, "held_out": 16, "lr": 5e-3, **changes}
        return HealSettings(tokens=steps * fields["batch"] * fields["window"], **fields)

    return make
