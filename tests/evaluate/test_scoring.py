"""One function for compiled code and torch alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import C4nError, CheckpointError
from tvm_c4n.evaluate.scoring import scorer, torch_score
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference

IDS = np.random.default_rng(0).integers(0, 96, 20)


def reference(folder: Path) -> np.ndarray:
    checkpoint = open_checkpoint(folder)
    return Reference(describe_model(checkpoint.config), checkpoint.dense).prefill(IDS)


@pytest.mark.parametrize(("backend", "tolerance"), [("torch", 1e-3), ("compiled", 2e-2)])
def test_both_backends_give_the_references_logits(
    small_model: Path, backend: str, tolerance: float
) -> None:
    score, tokenizer, context = scorer(small_model, backend, threads=1)
    expected = reference(small_model)
    np.testing.assert_allclose(np.asarray(score(IDS)), expected, atol=tolerance * np.ptp(expected))
    assert (tokenizer.vocab_size, context) == (96, None)


def test_a_model_with_attention_says_how_much_it_reads(
    hybrid_model: Path, hybrid_artifact: Path
) -> None:
    assert scorer(hybrid_model, "torch").context == 64
    assert scorer(hybrid_artifact).context == 64


def test_an_unknown_backend_is_named(small_model: Path) -> None:
    with pytest.raises(C4nError, match="backend 'gpu' is not compiled or torch"):
        scorer(small_model, "gpu")


def test_torch_refuses_a_model_that_lacks_a_tensor(small_model: Path, tmp_path: Path) -> None:
    import json

    from tests.models import HF, write_model

    write_model(tmp_path, HF)
    config = {**HF, "num_hidden_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"backbone\.layers\.2\."):
        torch_score(tmp_path)
