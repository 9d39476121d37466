"""The training script, on a CPU with models of two layers."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models import HF, VOCABULARY, write_tokenizer
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning.calibration.layer import logits

TRAINING = Path(__file__).parents[2] / "tools" / "training"
HYBRID = {
    **json.loads((TRAINING / "configs" / "granite-h-20m.json").read_text()),
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "shared_intermediate_size": 32,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call the script; returns its metrics."""
    monkeypatch.syspath_prepend(str(TRAINING))
    import train

    clock = itertools.count(step=0.005)  # the number of steps shall not depend on the machine
    monkeypatch.setattr(train, "time", lambda: next(clock))
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    write_tokenizer(tokenizer)
    (tokenizer / "config.json").write_text(json.dumps(HF))
    # Each word follows from the one before, which a model soon finds out.
    (tmp_path / "words.u16").write_bytes((np.arange(8000) % 50 + 1).astype("<u2").tobytes())
    (tmp_path / "valid.txt").write_text(" ".join(f"w{i % 50 + 1}" for i in range(300)))

    def call(hf: dict[str, object], seconds: float):
        (tmp_path / "config.json").write_text(json.dumps(hf))
        options = {
            "--tokenizer": tokenizer, "--data": tmp_path / "words.u16",
            "--valid": tmp_path / "valid.txt", "--state": tmp_path / "state.pt",
            "--out": tmp_path / "out", "--total-seconds": 1, "--seconds": seconds,
            "--batch": 4, "--seq": 32, "--warmup-steps": 5, "--device": "cpu",
        }  # fmt: skip
        words = [str(word) for option in options.items() for word in option]
        monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path / "config.json"), *words])
        train.main()
        return json.loads((tmp_path / "out" / "metrics.json").read_text())

    return call


@pytest.mark.parametrize(
    "hf",
    [pytest.param(HF, marks=pytest.mark.slow, id="mamba"), pytest.param(HYBRID, id="hybrid")],
)
def test_a_model_learns_and_opens_in_transformers(run, hf, tmp_path):
    found = run(hf, 60)
    assert found["valid_loss"] < 3, "a uniform guess has log(96) = 4.56"
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").float()
    tokens = torch.arange(33)[None] % 50 + 1
    with torch.no_grad():
        loss = model(tokens, labels=tokens).loss
    assert float(loss) < 3
    again = run(hf, 0)
    assert again["step"] == found["step"] and again["calls"] == 2


def test_initial_weights_are_those_of_the_papers(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    from initial import DECAYS, STEPS, initial_tensors

    tensors = initial_tensors(describe_model(HYBRID), HYBRID, seed=0)
    prefix = "model.layers.0.mamba."
    step = np.log1p(np.exp(tensors[prefix + "dt_bias"]))
    decay = np.exp(tensors[prefix + "A_log"])
    for found, (low, high) in ((step, STEPS), (decay, DECAYS)):
        assert (low <= found).all() and (found <= high).all() and len(set(found)) == 4


def test_a_grown_model_says_what_the_small_one_does(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    from grow import grown_tensors
    from initial import initial_tensors

    small = ArrayCheckpoint(HF, initial_tensors(describe_model(HF), HF, seed=0))
    twice = ("hidden_size", "intermediate_size", "time_step_rank")
    large = HF | {name: 2 * HF[name] for name in twice} | {"num_hidden_layers": 3}
    config = describe_model(large)
    tensors = grown_tensors(small, config, seed=1)
    assert {n: t.shape for n, t in tensors.items()} == dict(config.tensor_shapes())
    ids = np.arange(40).reshape(2, 20) % VOCABULARY
    found, expected = logits(ArrayCheckpoint(large, tensors), ids), logits(small, ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    first, second = np.split(tensors["backbone.layers.0.mixer.in_proj.weight"], 2, axis=1)
    assert not np.allclose(first, second), "pairs of channels would stay the same for ever"
