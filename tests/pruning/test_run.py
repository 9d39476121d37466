"""Whole runs: the folder, its dense export, determinism, interrupts, and errors of the user."""

import hashlib
import json

import numpy as np
import pytest
import torch

from tests.hub import commit_of
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import C4nError, CheckpointError, RecipeError
from tvm_c4n.pruning import Recipe, Report, prune
from tvm_c4n.pruning.calibration.layer import logits

RECIPE = Recipe(removed=2, dtype="int8", samples=24, sample_tokens=48, scale_group=32)


@pytest.fixture(scope="module")
def pruned(small_model, words, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "pruned"
    return out, prune(small_model, out, RECIPE, calibration=words)


def test_a_model_of_a_hub_is_pinned(hub, words, tmp_path):
    recipe = RECIPE.model_copy(update={"method": "magnitude", "samples": 2})
    report = prune("org/small", tmp_path / "out", recipe, calibration=words, dense_export=False)
    assert report.source == "org/small"
    assert report.revision == commit_of(hub.models["org/small"])
    assert Report.model_validate_json((tmp_path / "out/report.json").read_text()) == report


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_follows_the_plan(pruned, small_model):
    out, report = pruned
    checkpoint, source = open_checkpoint(out), open_checkpoint(small_model)
    assert checkpoint.names() == sorted([*source.names(), "head_map.weight"])
    assert checkpoint.shape("head_map.weight") == (32, 32)
    for row in report.projections:
        weight = checkpoint.weight(row.name)
        assert (weight.removed, weight.dtype) == (row.removed, row.dtype)
        assert weight.size_bytes == row.size_bytes
    assert checkpoint.weight("backbone.embeddings.weight").dtype == "int8"
    for name in ("backbone.layers.0.mixer.A_log", "backbone.layers.1.mixer.D"):
        assert checkpoint.weight(name) is None
        values, given = (np.sort(c.dense(name), axis=None) for c in (checkpoint, source))
        np.testing.assert_array_equal(values, given)  # in another order of channels
    assert (checkpoint.dense("backbone.norm_f.weight") == 1).all()  # folded into the head map
    assert (out / "tokenizer.json").read_bytes() == (small_model / "tokenizer.json").read_bytes()


def test_the_report_is_in_the_folder_and_adds_up(pruned, small_model):
    out, report = pruned
    assert Report.model_validate_json((out / "report.json").read_text()) == report
    assert report.source_bytes == open_checkpoint(small_model).size_bytes
    assert report.packed_bytes == open_checkpoint(out).size_bytes
    files = (out / "model.safetensors", out / "c4n.json")
    assert report.disk_bytes == sum(file.stat().st_size for file in files)
    assert sum(p.size_bytes for p in report.projections) < report.packed_bytes < report.disk_bytes
    assert [p.projection for p in report.projections[:4]] == [
        "in_proj", "x_proj", "dt_proj", "out_proj",
    ]  # fmt: skip
    for projection in ("in_proj", "out_proj"):
        assert 0 < report.mean_error(projection) < report.mean_error(projection, "masked_error")
    assert "out_proj     2     int8" in str(report)
    assert "/" not in report.source + report.calibration  # no paths of the user's machine


def test_the_dense_export_is_the_same_model(pruned):
    out, _ = pruned
    ids = np.random.default_rng(0).integers(0, 96, (2, 20))
    packed = logits(open_checkpoint(out), ids)
    export = logits(open_checkpoint(out / "dense"), ids)
    torch.testing.assert_close(export, packed, atol=2e-2, rtol=1e-2)


def test_same_seed_same_bytes(pruned, small_model, words, tmp_path):
    prune(small_model, tmp_path / "again", RECIPE, calibration=words, dense_export=False)
    for name in ("model.safetensors", "c4n.json"):
        assert sha256(tmp_path / "again" / name) == sha256(pruned[0] / name)
    other = RECIPE.model_copy(update={"seed": 1})
    prune(small_model, tmp_path / "other", other, calibration=words, dense_export=False)
    name = "model.safetensors"
    assert sha256(tmp_path / "other" / name) != sha256(pruned[0] / name)


def test_a_layer_sees_what_the_pruned_ones_before_it_give(small_model, words, tmp_path):
    """Pruning layer 0 harder must change what layer 1 is fitted to."""
    found = []
    for removed in (0, 3):
        recipe = RECIPE.model_copy(
            update={"removed": {"layers.0.in_proj": removed, "layers.1.in_proj": 2}}
        )
        out = tmp_path / str(removed)
        prune(small_model, out, recipe, calibration=words, dense_export=False)
        found.append(open_checkpoint(out).dense("backbone.layers.1.mixer.in_proj.weight"))
    assert not np.array_equal(*found)


def test_progress_counts_to_its_end(small_model, words, tmp_path):
    calls = []
    prune(
        small_model,
        tmp_path / "out",
        RECIPE,
        calibration=words,
        progress=lambda *call: calls.append(call),
    )
    assert [done for _, done, _ in calls] == list(range(1, 16))
    assert {total for *_, total in calls} == {15}
    assert [calls[place][0] for place in (2, 6)] == ["rotation", "layer 0 in_proj"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(small_model, words, tmp_path, error):
    def stop(_what, done, _total):
        if done == 5:
            raise error

    with pytest.raises(error):
        prune(small_model, tmp_path / "new" / "out", RECIPE, calibration=words, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(pruned, small_model, words):
    out, _ = pruned
    before = sha256(out / "model.safetensors")
    with pytest.raises(CheckpointError):
        prune(small_model, out, RECIPE, calibration=words)
    assert sha256(out / "model.safetensors") == before


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"removed": {"layers.9.in_proj": 1}}, RecipeError),
        ({"samples": 500}, RecipeError),
    ],
)
def test_recipes_that_do_not_fit_leave_nothing(small_model, words, tmp_path, change, kind):
    with pytest.raises(kind) as caught:
        prune(
            small_model,
            tmp_path / "out",
            RECIPE.model_copy(update=change),
            calibration=words,
        )
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_models_that_are_not_there_or_lack_a_tensor(small_model, tmp_path):
    with pytest.raises(CheckpointError):
        prune(tmp_path / "nothing", tmp_path / "out", RECIPE)
    config = json.loads((small_model / "config.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("model.safetensors", "tokenizer.json"):
        (broken / file).write_bytes((small_model / file).read_bytes())
    (broken / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(C4nError, match=r"backbone\.layers\.2.* is missing"):
        prune(broken, tmp_path / "out", RECIPE)


def test_int4_untied_and_float32_sources(small_model, words, tmp_path):
    from safetensors.numpy import load_file, save_file

    source = tmp_path / "source"
    source.mkdir()
    tensors = {
        k: v.astype(np.float32) for k, v in load_file(small_model / "model.safetensors").items()
    }
    rng = np.random.default_rng(1)
    tensors["lm_head.weight"] = rng.standard_normal((96, 32)).astype(np.float32)
    tensors["backbone.layers.0.mixer.D"] += np.float32(1e-6)  # needs float32
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((small_model / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    (source / "tokenizer.json").write_bytes((small_model / "tokenizer.json").read_bytes())
    recipe = RECIPE.model_copy(update={"dtype": "int4", "removed": 3})
    prune(source, tmp_path / "out", recipe, calibration=words)
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.weight("lm_head.weight").dtype == "int8"
    assert checkpoint.weight("backbone.layers.1.mixer.out_proj.weight").dtype == "int4"
    np.testing.assert_array_equal(
        np.sort(checkpoint.dense("backbone.layers.0.mixer.D")),
        np.sort(tensors["backbone.layers.0.mixer.D"]),
    )


def test_keywords_of_the_first_version_warn_and_work(small_model, words, tmp_path):
    with pytest.warns(DeprecationWarning, match="twin=") as caught:
        prune(small_model, tmp_path / "out", RECIPE, calibration=words, twin=False)
    assert not (tmp_path / "out" / "dense").exists()
    with pytest.warns(DeprecationWarning, match="Target is now Budget"):
        from tvm_c4n.pruning import Target
    with (
        pytest.warns(DeprecationWarning, match="budget="),
        pytest.raises(RecipeError, match="size"),
    ):
        prune(
            small_model,
            tmp_path / "none",
            RECIPE,
            target=Target("size", 1.0),
            calibration=words,
        )
    with pytest.raises(TypeError, match="both twin= and dense_export="):
        prune(small_model, tmp_path / "none", twin=False, dense_export=True)
    assert len(caught) == 1


@pytest.mark.parametrize(("dtype", "error"), [("float16", 0.0), ("int8", 1e-4)])
def test_a_model_that_is_only_rounded_is_not_calibrated(
    small_model, words, tmp_path, monkeypatch, dtype, error
):
    def refuse(*_):
        raise AssertionError("a calibration stream was opened")

    monkeypatch.setattr("tvm_c4n.pruning.layerwise.Stream", refuse)
    monkeypatch.setattr("tvm_c4n.pruning.calibration.analysis.Stream", refuse)
    recipe = RECIPE.model_copy(update={"removed": 0, "dtype": dtype})
    steps = []
    report = prune(
        small_model,
        tmp_path / "out",
        recipe,
        calibration=words,
        progress=lambda *call: steps.append(call[1:]),
    )
    assert all(0 <= row.output_error <= error for row in report.projections)
    assert steps[-1] == (12, 12)
    found, source = open_checkpoint(tmp_path / "out"), open_checkpoint(small_model)
    for name in source.names():
        near = np.abs(found.dense(name) - source.dense(name)).max()
        assert near <= (0 if dtype == "float16" else 0.02), name
