"""The bars of a compiled model: transformers' perplexity, and the reference's text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import write_model, write_tokenizer
from tvm_c4n.assets import ROOT, VALID_TEXT
from tvm_c4n.checkpoint import C4nWriter, export_dense, open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.evaluate.perplexity import perplexity
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate, generate_tokens
from tvm_c4n.sparsity import from_dense, mask_from_scores

PROMPT = [0, 480, 1500, 77, 3021, 12, 260]


def greedy(model: Any, tokens: int) -> list[int]:
    """Continue the prompt with the most likely token each time."""
    logits = np.atleast_2d(model.prefill(PROMPT))[-1]
    out = []
    for _ in range(tokens):
        out.append(int(logits.argmax()))
        logits = model.step(out[-1])
    return out


def magnitude_pruned(out: Path) -> Path:
    """The embedded model with two of four weights of its large projections removed, float16."""
    source = open_checkpoint("mamba-19m")
    with C4nWriter(out) as writer:
        for name in source.names():
            array = source.dense(name)
            if name.endswith(("in_proj.weight", "out_proj.weight")):
                mask = mask_from_scores(np.abs(array), 2)
                writer.add_weight(name, from_dense(array, 2, "float16", mask=mask))
            else:
                writer.add_dense(name, array)
        writer.copy_extra(source)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [16, 256])
@pytest.mark.parametrize("which", ["c4n", "dense"])
def test_greedy_text_equals_the_references(tmp_path: Path, tokens: int, which: str) -> None:
    model: str | Path = "mamba-19m" if which == "dense" else magnitude_pruned(tmp_path / "c4n")
    dtype = "float32" if which == "dense" else "float16"
    compile_model(model, tmp_path / "art", dtype=dtype)
    checkpoint = open_checkpoint(model)
    reference = Reference(describe_model(checkpoint.config), checkpoint.dense)
    assert greedy(Engine.load(tmp_path / "art"), tokens) == greedy(reference, tokens)


@pytest.mark.slow
def test_perplexity_equals_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import MambaForCausalLM

    folder = ROOT / "mamba-19m"
    peer = MambaForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def peer_score(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return peer(torch.from_numpy(ids)[None]).logits[0].numpy()

    compile_model("mamba-19m", tmp_path / "art")  # float16, as the weights are stored
    engine = Engine.load(tmp_path / "art")

    def score(ids: np.ndarray) -> np.ndarray:
        engine.reset()
        return engine.score(ids)

    ids = load_text_ids(VALID_TEXT, load_tokenizer(folder))
    ours = perplexity(score, ids, window=1024, max_windows=12)
    theirs = perplexity(peer_score, ids, window=1024, max_windows=12)
    assert ours.value == pytest.approx(theirs.value, rel=1e-3)
    assert abs(ours.value - 22.676) < 3 * ours.stderr  # the model card, other windows


def test_greedy_text_equals_that_of_the_dense_export_in_transformers(tmp_path: Path) -> None:
    """The text starts and ends where the model's files say, in both; so do the tokens between."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, names = write_model(tmp_path / "source"), {"bos_token": "w3", "eos_token": "w4"}
    write_tokenizer(source)
    names["tokenizer_class"] = "PreTrainedTokenizerFast"
    (source / "tokenizer_config.json").write_text(json.dumps(names))
    prompt, limit = "w7 w8 w9", 64

    def theirs() -> list[int]:
        ids = AutoTokenizer.from_pretrained(tmp_path / "c4n/dense")(prompt, return_tensors="pt")
        peer = AutoModelForCausalLM.from_pretrained(tmp_path / "c4n/dense", dtype=torch.float32)
        found = peer.generate(**ids, do_sample=False, max_new_tokens=limit)[0]
        return [int(token) for token in found[ids["input_ids"].shape[1] :]]

    def write_c4n() -> None:
        checkpoint = open_checkpoint(source)
        with C4nWriter(tmp_path / "c4n", overwrite=True) as writer:
            for name in checkpoint.names():
                array = checkpoint.dense(name)
                if name.endswith(("in_proj.weight", "out_proj.weight")):
                    mask = mask_from_scores(np.abs(array), 2)
                    writer.add_weight(name, from_dense(array, 2, "float16", mask=mask))
                else:
                    writer.add_dense(name, array)
            writer.copy_extra(checkpoint)
            export_dense(writer.seal(), writer.folder / "dense")

    write_c4n()
    text = theirs()
    end = max(text, key=text.index)  # the one that comes last for the first time
    assert len(text) == limit > text.index(end) > 0
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 94]}))
    write_c4n()
    assert theirs() == text[: text.index(end) + 1]
    compile_model(tmp_path / "c4n", tmp_path / "art")
    engine = Engine.load(tmp_path / "art")
    ids = engine.tokenizer.prompt(prompt)
    assert ids == [0, 7, 8, 9]
    assert list(generate_tokens(engine, ids, limit)) == text
    shown = engine.tokenizer.decode(text[: text.index(end)])
    assert "".join(generate(engine, prompt, limit)) == shown
