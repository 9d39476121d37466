"""What is converted has the logits of the original, here and in transformers; the rest is one line.

The oracle is transformers' model with the original tensors put under its names by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from tests.frontend.original.made import (
    CODESTRAL,
    MAMBA1,
    MAMBA2,
    tensors_of,
    theirs_of,
    write_original,
)
from tests.models import write_tokenizer
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import CheckpointError
from tvm_c4n.frontend.original import convert
from tvm_c4n.model.blocks.mamba2 import Mamba2
from tvm_c4n.model.config import check_tensors, check_values
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.runtime.engine import Engine

TEXT = np.random.default_rng(1).integers(0, 96, 20)
UNTIED = {"tie_embeddings": False}
BIN, SAFE = "pytorch_model.bin", "model.safetensors"
CASES = {
    "mamba-1, pickle": (MAMBA1, BIN, torch.float32),
    "mamba-1, safetensors, float16": (MAMBA1, SAFE, torch.float16),
    "mamba-1, untied, bfloat16": ({**MAMBA1, **UNTIED}, BIN, torch.bfloat16),
    "mamba-2, pickle, float16": (MAMBA2, BIN, torch.float16),
    "mamba-2, safetensors": (MAMBA2, SAFE, torch.float32),
    "mamba-2, untied": ({**MAMBA2, **UNTIED}, SAFE, torch.bfloat16),
    "codestral": (CODESTRAL, "", torch.bfloat16),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_original(case: str, tmp_path: Path) -> None:
    config, file, dtype = CASES[case]
    tensors = tensors_of(config, dtype)
    source = write_original(tmp_path / "original", config, tensors, file)
    found = convert(source, tmp_path / "out")
    with torch.no_grad():
        ids = torch.from_numpy(TEXT)[None]
        expected = theirs_of(config, tensors)(ids, use_cache=False).logits[0].numpy()
        opened = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "out", dtype=torch.float64
        ).eval()
        theirs = opened(ids, use_cache=False).logits[0].numpy()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(theirs, expected, atol=1e-6)
    checkpoint = open_checkpoint(tmp_path / "out")
    description = describe_model(checkpoint.config)
    check_tensors(description, checkpoint)
    check_values(description, checkpoint)
    ours = Reference(description, checkpoint.dense).prefill(TEXT)
    # transformers norms, and sums the residual stream, in float32.
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert (description.vocab_size, found.config) == (96, description)
    assert description.tie_embeddings == config.get("tie_embeddings", True)
    stored = str(dtype).removeprefix("torch.")
    assert checkpoint.config["dtype"] == checkpoint.config["torch_dtype"] == stored
    assert checkpoint.size_bytes == found.size_bytes


def test_bytes_are_copied_as_they_are(tmp_path: Path) -> None:
    tensors = tensors_of(MAMBA2, torch.float16)
    convert(write_original(tmp_path / "original", MAMBA2, tensors), tmp_path / "out")
    written = load_file(tmp_path / "out" / SAFE)
    assert "lm_head.weight" not in written  # it is the embedding matrix
    assert len(written) == len(tensors) - 1
    for name, values in written.items():
        original = tensors[name.replace("embeddings", "embedding")].numpy()
        assert values.dtype == original.dtype
        np.testing.assert_array_equal(values, original)


def test_tensors_of_several_pieces_are_whole(tmp_path: Path, monkeypatch: Any) -> None:
    tensors = tensors_of(MAMBA1)
    for module in ("tvm_c4n.frontend.original.weights", "tvm_c4n.checkpoint.safetensors_file"):
        monkeypatch.setattr(f"{module}._PIECE", 100)
    for file in (BIN, SAFE):
        convert(write_original(tmp_path / file, MAMBA1, tensors, file), tmp_path / f"{file}-out")
    one, other = (load_file(tmp_path / f"{file}-out" / SAFE) for file in (BIN, SAFE))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
        np.testing.assert_array_equal(values, tensors[name.replace("dings", "ding")].numpy())


def test_a_model_is_converted_in_less_memory_than_it_has_bytes(tmp_path: Path) -> None:
    config = {**MAMBA1, "vocab_size": 400_000}
    tensors = tensors_of(config)
    for name in ("backbone.embedding.weight", "lm_head.weight"):
        tensors[name] = torch.zeros(400_000, 16)
    size = 400_000 * 16 * 4
    source = write_original(tmp_path / "original", config, tensors, SAFE)
    program = f"""
import resource
from tvm_c4n.frontend.original import convert
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert({str(source)!r}, {str(tmp_path / "out")!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < size


def test_either_of_two_tied_matrices_may_stand_for_both(tmp_path: Path) -> None:
    for left in ("lm_head.weight", "backbone.embedding.weight"):
        tensors = tensors_of(MAMBA2)
        expected = tensors.pop(left).numpy()
        source = write_original(tmp_path / left, MAMBA2, tensors, SAFE)
        convert(source, tmp_path / f"{left}-out")
        found = open_checkpoint(tmp_path / f"{left}-out").dense("backbone.embeddings.weight")
        np.testing.assert_array_equal(found, expected)


def test_a_mixer_with_biases_and_limits_of_the_step(tmp_path: Path) -> None:
    config = {**MAMBA2, "ssm_cfg": {**MAMBA2["ssm_cfg"], "bias": True, "dt_limit": [0.01, 0.5]}}
    tensors = tensors_of(config)
    for layer in range(2):
        prefix = f"backbone.layers.{layer}.mixer."
        tensors[prefix + "in_proj.bias"] = torch.randn(92)
        tensors[prefix + "out_proj.bias"] = torch.randn(16)
    assert tensors["backbone.layers.0.mixer.in_proj.weight"].shape == (92, 16)
    convert(write_original(tmp_path / "original", config, tensors), tmp_path / "out")
    mixer = next(describe_model(open_checkpoint(tmp_path / "out").config).layers[0].blocks)
    assert isinstance(mixer, Mamba2)
    assert (mixer.in_bias, mixer.out_bias, mixer.limits) == (True, True, (0.01, 0.5))
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert opened.config.time_step_limit in ([0.01, 0.5], (0.01, 0.5))
    torch.testing.assert_close(
        opened.backbone.layers[1].mixer.in_proj.bias.detach(),
        tensors["backbone.layers.1.mixer.in_proj.bias"],
    )


def test_a_converted_model_compiles_and_runs(tmp_path: Path) -> None:
    tensors = tensors_of(CODESTRAL)
    source = write_original(tmp_path / "original", CODESTRAL, tensors)
    found = convert(source, tmp_path / "out")
    assert found.copied == ("tokenizer.json",)
    compile_model(tmp_path / "out", tmp_path / "art", dtype="float32")
    engine = Engine.load(tmp_path / "art")
    with torch.no_grad():
        ids = torch.from_numpy(TEXT)[None]
        expected = theirs_of(CODESTRAL, tensors)(ids, use_cache=False).logits[0, -1].numpy()
    np.testing.assert_allclose(engine.prefill(TEXT), expected, atol=1e-4)
    assert (engine.tokenizer.start, engine.tokenizer.ends) == (1, (2,))


def change(name: str, value: Any) -> Any:
    """Return what replaces a tensor of the file, or takes it away."""

    def spoil(tensors: dict[str, Any]) -> None:
        del tensors[name]
        if value is not None:
            tensors[name] = value

    return spoil


def add(name: str) -> Any:
    return lambda tensors: tensors.update({name: torch.zeros(3)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            change("backbone.layers.1.mixer.D", None),
            r"pytorch_model.bin: tensor backbone.layers.1.mixer.D is missing$",
        ),
        (
            change("backbone.layers.0.mixer.A_log", torch.zeros(4, 2)),
            r"A_log has shape \[4, 2\]; config.json asks for \[4\]$",
        ),
        (
            change("backbone.embedding.weight", torch.zeros(93, 16)),
            r"embeddings.weight has shape \[93, 16\]; config.json asks for \[96, 16\]$",
        ),
        (change("lm_head.weight", torch.zeros(96, 16)), "lm_head.weight is not the embedding"),
        (change("lm_head.weight", torch.zeros(95, 16)), "lm_head.weight is not the embedding"),
        (add("backbone.layers.0.norm2.weight"), "'backbone.layers.0.norm2.weight' is in no model"),
        (add("backbone.embeddings.weight"), "holds 'backbone.embeddings.weight' twice"),
    ],
)
def test_tensors_that_are_not_the_configs_are_refused(
    spoil: Any, message: str, tmp_path: Path
) -> None:
    tensors = tensors_of(MAMBA2)
    spoil(tensors)
    source = write_original(tmp_path / "original", MAMBA2, tensors)
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


def test_folders_that_are_no_originals_say_what_they_are(tmp_path: Path) -> None:
    source = write_original(tmp_path / "original", MAMBA1)
    convert(source, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"has model_type 'mamba', so it is a Hugging Face"):
        convert(tmp_path / "out", tmp_path / "again")
    with pytest.raises(CheckpointError, match="is the model itself"):
        convert(source, source, overwrite=True)
    with pytest.raises(CheckpointError, match="not empty"):
        convert(source, tmp_path / "out")
    convert(source, tmp_path / "out", overwrite=True)
    with pytest.raises(CheckpointError, match="no such folder"):
        convert(tmp_path / "none", tmp_path / "again")
    (source / BIN).unlink()
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor pytorch_model.bin"):
        convert(source, tmp_path / "again")
    (source / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has neither d_model nor ssm_cfg"):
        convert(source, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_who_opens_an_original_is_told_to_convert_it(tmp_path: Path) -> None:
    for name, config in (("one", MAMBA1), ("two words", CODESTRAL)):
        source = write_original(tmp_path / name, config)
        command = rf"`tvm-c4n convert .*{name}'? -o '?{name}-hf'?`"
        with pytest.raises(CheckpointError, match=command):
            open_checkpoint(source)
        # Codestral's repository has a config.json, too, for nothing.
        if config is CODESTRAL:
            (source / "config.json").write_text(json.dumps({"model_type": "mamba2"}))
            with pytest.raises(CheckpointError, match=command):
                open_checkpoint(source)


def test_the_tokenizer_comes_along_where_there_is_one(tmp_path: Path) -> None:
    source = write_original(tmp_path / "original", MAMBA1)
    found = convert(source, tmp_path / "out")
    assert (found.copied, found.tokenizer) == ((), "EleutherAI/gpt-neox-20b")
    write_tokenizer(source)
    (source / "LICENSE").write_text("free")
    found = convert(source, tmp_path / "out", overwrite=True)
    assert found.copied == ("tokenizer.json", "LICENSE")
    assert (tmp_path / "out/LICENSE").read_text() == "free"
