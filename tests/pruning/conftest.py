"""Small problems and a small model folder for pruning."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tvm_c4n.model import MambaConfig

HF = {
    "model_type": "mamba",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 8,
    "rescale_prenorm_residual": False,
    "tie_word_embeddings": True,
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the problems are so small that threads only wait for each other


@pytest.fixture
def problem():
    """``make(rows, cols)``: weights and correlated statistics, float64."""

    def make(rows, cols, seed=0):
        rng = np.random.default_rng(seed)
        mix = rng.standard_normal((cols, cols)) * 0.4 + np.eye(cols)
        inputs = rng.standard_normal((4 * cols, cols)) @ mix
        weight = rng.standard_normal((rows, cols))
        return torch.from_numpy(weight), torch.from_numpy(inputs.T @ inputs)

    return make


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A model folder with two layers, random weights and a tokenizer of 96 words."""
    folder = tmp_path_factory.mktemp("model") / "small"
    folder.mkdir()
    config = MambaConfig.from_hf(HF)
    rng = np.random.default_rng(3)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        values = rng.standard_normal(shape) / np.sqrt(shape[-1])
        if "norm" in name or name.endswith(".D"):
            values = 1 + 0.1 * values
        if name.endswith("A_log"):
            values = np.log(np.arange(1, shape[1] + 1)) + 0 * values
        tensors[name] = values.astype(np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(HF))
    vocabulary = {"<|endoftext|>": 0, **{f"w{i}": i for i in range(1, 96)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def small_text(tmp_path_factory):
    """Calibration text for the small model, 2000 words in 20 documents."""
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("text") / "words.jsonl"
    lines = [" ".join(f"w{i}" for i in rng.integers(1, 96, 100)) for _ in range(20)]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path
