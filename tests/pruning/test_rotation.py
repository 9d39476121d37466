"""Rotated models as users meet them: which are, what lies in the folder, what opens it."""

import json

import numpy as np
import pytest
import torch

from tests.models import EXPERTS, HF
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning import Budget, Recipe, prune
from tvm_c4n.pruning.calibration.layer import logits
from tvm_c4n.pruning.rotation import reading, rotation_steps

RECIPE = Recipe(removed=1, dtype="float16", samples=16, sample_tokens=32)


@pytest.mark.parametrize(
    ("fields", "rotates"),
    [
        ({}, True),
        ({"removed": 0}, False),
        ({"removed": {"out_proj": 2}}, False),  # it writes the stream
        ({"removed": {"layers.1.in_proj": 2}}, True),
        ({"method": "wanda"}, False),
        ({"method": "wanda", "rotate": True}, True),
        ({"rotate": False}, False),
    ],
)
def test_what_reads_the_stream_and_loses_weights_is_rotated(fields, rotates):
    recipe, config = Recipe(**fields), describe_model(HF)
    assert recipe.rotates(config) == rotates
    assert (recipe.stored(config).head_map is not None) == rotates
    assert (rotation_steps(config, recipe) > 0) == rotates
    assert not Recipe(**fields | {"rotate": None}).rotates(config.rotated())


def test_a_share_is_removed_from_a_rotated_model_and_other_budgets_decide_for_none():
    config = describe_model(HF)
    assert Budget("sparsity", 0.3).decided(Recipe(), config).rotate is True
    assert Budget("size", 1e6).decided(Recipe(), config).rotate is False
    assert Budget("size", 1e6).decided(Recipe(rotate=True), config).rotate is True
    assert Budget("sparsity", 0.3).decided(Recipe(method="wanda"), config).rotate is False


def test_each_norm_has_the_n_of_what_reads_it():
    mamba, experts = describe_model(HF), describe_model(EXPERTS)
    recipe = Recipe(removed={"layers.0.in_proj": 3, "layers.1.in_proj": 1, "out_proj": 2})
    assert reading(mamba, recipe) == [(0, ["in_proj"], 3), (1, ["in_proj"], 1)]
    assert [n for *_, n in reading(mamba, Recipe(removed=0))] == [2, 2]
    names = reading(experts, Recipe(removed=1))
    assert (1, ["q_proj", "k_proj", "v_proj"], 1) in names
    assert any({"expert_gate", "expert_up"} <= set(own) for _, own, _ in names)


def test_a_rotated_folder_is_the_same_model_in_every_form(small_model, words, tmp_path):
    out = tmp_path / "out"
    report = prune(small_model, out, RECIPE, calibration=words)
    assert report.recipe["rotate"] is True
    prune(small_model, tmp_path / "again", Recipe.from_file(out / "report.json"), calibration=words)
    for name in ("model.safetensors", "c4n.json", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    dense = open_checkpoint(out / "dense")
    assert not describe_model(dense.config).tie_embeddings
    assert "lm_head.weight" in dense.names() and "head_map.weight" not in dense.names()
    ids = np.random.default_rng(0).integers(0, 96, (2, 20))
    torch.testing.assert_close(
        logits(dense, ids), logits(open_checkpoint(out), ids), atol=2e-2, rtol=1e-2
    )


def test_a_report_from_before_rotations_makes_its_model(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"recipe": {"removed": 2}, "source": "old"}))
    assert Recipe.from_file(file).rotate is False
    file.write_text(json.dumps({"removed": 2}))
    assert Recipe.from_file(file).rotate is None


def test_a_rotated_folder_is_not_rotated_again(small_model, words, tmp_path):
    zero = RECIPE.model_copy(update={"removed": 0, "rotate": True})
    prune(small_model, tmp_path / "once", zero, calibration=words, dense_export=False)
    prune(tmp_path / "once", tmp_path / "twice", RECIPE, calibration=words, dense_export=False)
    ids = np.random.default_rng(0).integers(0, 96, (2, 20))
    once, before = (logits(open_checkpoint(p), ids) for p in (tmp_path / "once", small_model))
    torch.testing.assert_close(once, before, atol=2e-2, rtol=1e-2)
    assert open_checkpoint(tmp_path / "twice").shape("head_map.weight") == (32, 32)
    with pytest.raises(RecipeError, match="is rotated already; set rotate to false"):
        prune(tmp_path / "once", tmp_path / "no", zero, calibration=words)


@pytest.mark.slow
@pytest.mark.parametrize("removed", [0, 2])
def test_a_compiled_rotated_model_says_what_its_folder_does(small_model, words, tmp_path, removed):
    from tvm_c4n.compile.artifact import compile_model
    from tvm_c4n.runtime.engine import Engine

    recipe = RECIPE.model_copy(update={"removed": removed, "rotate": True})
    prune(small_model, tmp_path / "out", recipe, calibration=words, dense_export=False)
    compile_model(tmp_path / "out", tmp_path / "artifact")
    engine = Engine.load(tmp_path / "artifact")
    ids = np.random.default_rng(0).integers(0, 96, 12).astype(np.int32)
    expected = logits(open_checkpoint(tmp_path / "out"), ids[None].astype(np.int64))[0]
    torch.testing.assert_close(torch.from_numpy(engine.score(ids)), expected, atol=2e-2, rtol=1e-2)


@pytest.mark.slow
def test_transformers_opens_the_dense_export_with_the_same_logits(small_model, words, tmp_path):
    transformers = pytest.importorskip("transformers")
    prune(small_model, tmp_path / "out", RECIPE, calibration=words)
    opened = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out" / "dense", dtype=torch.float32
    )
    ids = np.random.default_rng(0).integers(0, 96, (2, 20))
    with torch.no_grad():
        found = opened(torch.from_numpy(ids)).logits
    expected = logits(open_checkpoint(tmp_path / "out" / "dense"), ids)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
