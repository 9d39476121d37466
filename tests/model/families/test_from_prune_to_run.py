"""Falcon-Mamba, Mamba-2, Granite 4.0-H, Falcon-H1: pruned by a budget, healed, judged and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.families import write_family
from tests.model.families import (
    test_falcon_h1,
    test_falcon_mamba,
    test_granitemoehybrid,
    test_mamba2,
)
from tests.models import write_words
from tvm_c4n import load
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.evaluate.evaluation import engine_score
from tvm_c4n.evaluate.perplexity import perplexity
from tvm_c4n.evaluate.scoring import torch_score
from tvm_c4n.evaluate.tasks import Item, run_task
from tvm_c4n.healing import HealSettings, heal
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.recipe import Recipe

# Their random layers say enough for pruning to show: healing 2e-6 nats away would be by chance.
FAMILIES = {
    "falcon_mamba": test_falcon_mamba.TestFalconMamba.CONFIGS["plain"],
    "mamba2": test_mamba2.TestMamba2.CONFIGS["two groups"],
    "granitemoehybrid": test_granitemoehybrid.TestGraniteTogether.CONFIGS[
        "tied, scalars, biases, two groups"
    ],
    "falcon_h1": test_falcon_h1.TestFalconH1.CONFIGS["biases, multipliers"],
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_of_the_way_takes_it(family: str, tmp_path: Path) -> None:
    from tvm_c4n import prune

    model, pruned, healed = (tmp_path / name for name in ("model", "pruned", "healed"))
    write_family(model, FAMILIES[family])
    words = write_words(tmp_path / "words.jsonl", documents=200)
    # Step 1: sensitivities choose n of each weight.
    recipe = Recipe(dtype="int4", samples=8, sample_tokens=32)
    report = prune(model, pruned, recipe, budget=Budget("sparsity", 0.4), calibration=words)
    assert len({p.removed for p in report.projections}) > 1
    # Step 2: training brings it closer to the dense model.
    settings = HealSettings(tokens=8 * 64 * 8, batch=8, window=64, held_out=8)
    trained = heal(pruned, healed, model, [words], settings)
    assert trained.after.divergence < trained.before.divergence
    # Step 3: compiled, it is the model that is stored.
    compile_model(healed, tmp_path / "art")
    stored, engine = open_checkpoint(healed), load(tmp_path / "art")
    text = np.random.default_rng(0).integers(1, 96, 64)
    expected = Reference(describe_model(stored.config), stored.dense).prefill(text)[-1]
    found = engine.prefill(text)
    assert ((found - expected) ** 2).sum() < 3e-3 * (expected**2).sum()
    # Step 4: perplexity and answers are those of torch.
    tokenizer, items = load_tokenizer(healed), _items()
    scores = [engine_score(engine), torch_score(str(healed))]
    ours, theirs = (perplexity(score, text, window=32).value for score in scores)
    assert ours == pytest.approx(theirs, rel=0.02)
    ours, theirs = (run_task("pairs", items, score, tokenizer).accuracy for score in scores)
    assert abs(ours - theirs) <= 1 / len(items)


def _items() -> list[Any]:
    """Return questions which of two texts is likelier."""
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{i}" for i in rng.integers(1, 96, 8)) for _ in range(40)]
    return [Item(("", ""), pair, 0) for pair in zip(texts[::2], texts[1::2], strict=True)]
