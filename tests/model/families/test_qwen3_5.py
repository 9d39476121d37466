"""Qwen3.5 with its vision tower: the text model inside."""

import json
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers import Qwen3_5Config, Qwen3_5TextConfig

from tests.families import TEXT, write_family
from tests.model.families.test_qwen3_5_text import MIXED, SIZES
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.dense_export import export_dense
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference


def write_wrapped(folder):
    """Write a text model as the part of one that sees; returns transformers' text model."""
    text = Qwen3_5TextConfig(**SIZES, layer_types=MIXED, tie_word_embeddings=True)
    model = write_family(folder, text)
    tensors = load_file(folder / "model.safetensors")
    tensors = {n.replace("model.", "model.language_model.", 1): t for n, t in tensors.items()}
    tensors["model.visual.patch_embed.proj.bias"] = np.zeros(4, np.float32)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    whole = Qwen3_5Config(text_config=text.to_dict(), tie_word_embeddings=True)
    (folder / "config.json").write_text(json.dumps(whole.to_dict()))
    return model


def test_the_text_model_alone_is_read_and_written(tmp_path):
    model = write_wrapped(tmp_path / "model")
    checkpoint = open_checkpoint(tmp_path / "model")
    config = describe_model(checkpoint.config)
    check_tensors(config, checkpoint)
    found = Reference(config, checkpoint.dense).prefill(TEXT)
    ids = torch.from_numpy(TEXT)[None]
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        export_dense(checkpoint, tmp_path / "twin", dtype="float32")
        twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "twin").double()
        np.testing.assert_allclose(twin(ids).logits[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_config": None}, "config.json lacks text_config"),
        ({"text_config": {}}, "config.json: text_config lacks vocab_size, hidden_size"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        describe_model({"model_type": "qwen3_5", **change})
