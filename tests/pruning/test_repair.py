"""Training of pruned layers: the error falls, masks stay, and the folder has what was trained."""

from dataclasses import replace

import pytest
import torch

from tests.models import EXPERTS, HF, HYBRID, random_tensors
from tvm_c4n.checkpoint import ArrayCheckpoint, open_checkpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.pruning import Recipe, Report, prune
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.pruning.calibration.windows import draw_windows
from tvm_c4n.pruning.method.matrix import prune_matrix
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.pruning.repair import stream_error, train_layer

# More windows to train on than to calibrate with, and the other way round.
RECIPE = Recipe(removed=2, dtype="int8", samples=12, sample_tokens=48, scale_group=32, repair=40)
FEW = RECIPE.model_copy(update={"repair": 5})


def pruned_layer(fields, dtype, windows=480, tokens=32):
    """Prune a layer by magnitude, n by projection; returns it, its inputs and the dense outputs."""
    config = describe_model(fields)
    layer = Layer.load(ArrayCheckpoint(fields, random_tensors(config)), config, 0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(windows, tokens, config.d_model, generator=generator)
    wanted = layer(inputs.clone())
    weights, values = {}, {}
    for number, projection in enumerate(config.projections(0).values()):
        matrix = layer.projections[projection.name]
        found = prune_matrix(
            matrix,
            torch.eye(matrix.shape[1]),
            Choice(number % 3, dtype),
            method="magnitude",
            scale_group=32,
        )
        weights[projection.weight], values[projection.name] = found.weight, found.values
    return config, replace(layer, projections=values), weights, inputs, wanted


def check_training(fields, dtype):
    """Train a layer, and check the error, the masks and what is stored."""
    config, layer, weights, inputs, wanted = pruned_layer(fields, dtype)
    with torch.no_grad():
        before = stream_error([layer(inputs.clone())], [wanted])
        trained = train_layer(config, 0, layer, weights, inputs, wanted)
        after = stream_error([trained.layer(inputs.clone())], [wanted])
    assert after < 0.99 * before
    assert trained.weights.keys() == weights.keys()
    moved = 0
    for projection in config.projections(0).values():
        new, old = trained.weights[projection.weight], weights[projection.weight]
        assert (new.removed, new.dtype, new.size_bytes) == (old.removed, old.dtype, old.size_bytes)
        assert (new.mask() == old.mask()).all()
        moved += int((new.dense() != old.dense()).sum())
        stored = torch.from_numpy(new.dense())
        assert torch.equal(trained.layer.projections[projection.name], stored)
    assert moved
    assert trained.tensors.keys() == layer.tensors.keys()
    for name, tensor in trained.tensors.items():
        assert torch.equal(tensor, tensor.half().float()), name
    assert any(not torch.equal(trained.tensors[n], layer.tensors[n]) for n in layer.tensors)


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "int4",
        "int2",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("int8", "int3")),
    ],
)
def test_training_lowers_the_error_of_mamba(dtype):
    check_training(HF, dtype)


def test_training_lowers_the_error_of_a_hybrid():
    check_training(HYBRID, "int4")


@pytest.mark.slow
def test_training_lowers_the_error_of_attention_and_experts():
    check_training({**HYBRID, "layer_types": ["full_attention", "linear_attention"]}, "int4")
    check_training(EXPERTS, "int4")


def test_the_error_counts_each_token_by_the_size_of_what_is_wanted():
    wanted = torch.tensor([[[3.0, 4.0], [30.0, 40.0]]])
    stream = wanted + torch.tensor([[[1.0, 0.0], [0.0, 10.0]]])
    assert stream_error([stream, wanted], [wanted, wanted]) == pytest.approx(0.02)


@pytest.fixture(scope="module")
def repaired(small_model, words, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "repaired"
    recipe = RECIPE.model_copy(update={"rotate": False, "without": ("permute",)})
    return out, recipe, prune(small_model, out, recipe, calibration=words, dense_export=False)


def test_the_folder_has_the_error_that_the_report_says(repaired, small_model, words):
    """Through the folder's own layers, on the calibration windows."""
    out, recipe, report = repaired
    assert Report.model_validate_json((out / "report.json").read_text()) == report
    assert [repair.layer for repair in report.repairs] == [0, 1]
    assert report.packed_bytes == open_checkpoint(out).size_bytes
    windows = torch.from_numpy(draw_windows(load_tokenizer(small_model), recipe, words))[:12]
    checkpoints = [open_checkpoint(folder) for folder in (out, small_model)]
    config = describe_model(checkpoints[1].config)
    streams = [torch.from_numpy(c.dense(config.embeddings))[windows] for c in checkpoints]
    for repair in report.repairs:
        assert repair.after < repair.before
        layers = [Layer.load(c, config, repair.layer) for c in checkpoints]
        streams = [layer(stream) for layer, stream in zip(layers, streams, strict=True)]
        assert stream_error(streams[:1], streams[1:]) == pytest.approx(repair.after, rel=1e-3)


def test_the_card_says_that_layers_were_trained(repaired):
    card = (repaired[0] / "README.md").read_text()
    assert "trained on 40 windows" in card and "nothing was trained" not in card


@pytest.mark.parametrize("recipe", [RECIPE, FEW])
def test_a_stopped_run_goes_on_to_the_same_bytes(recipe, small_model, words, tmp_path):
    def stop(what, _done, _total):
        if what == "layer 1 x_proj":
            raise KeyboardInterrupt

    options = {"calibration": words, "dense_export": False}
    whole = prune(small_model, tmp_path / "whole", recipe, **options)
    options["resume"] = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        prune(small_model, tmp_path / "out", recipe, progress=stop, **options)
    calls = []
    told = lambda *call: calls.append(call)  # noqa: E731
    again = prune(small_model, tmp_path / "out", recipe, progress=told, **options)
    assert (again.repairs, again.projections) == (whole.repairs, whole.projections)
    for name in ("model.safetensors", "c4n.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    steps = [what for what, *_ in calls]
    assert "layer 1 repair" in steps and "layer 0 repair" not in steps
    assert calls[-1][1] == calls[-1][2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "wanda"}, "repair is for method obs, not wanda"),
        ({"removed": 0}, "removes nothing and leaves 8 bits or more"),
        ({"repair": 500}, "too few for 500 windows of 48; give more text or set repair to at most"),
    ],
)
def test_what_contradicts_a_repair_is_said(change, said, small_model, words, tmp_path):
    with pytest.raises(RecipeError, match=said):
        recipe = Recipe(**{**RECIPE.model_dump(), **change})
        prune(small_model, tmp_path / "out", recipe, calibration=words)
    assert list(tmp_path.iterdir()) == []


def test_the_scan_of_a_gpu_takes_whole_steps(small_model, words, monkeypatch, tmp_path):
    """Said before anything is computed; no GPU is asked."""
    monkeypatch.setattr("tvm_c4n.pruning.session.find_device", lambda _: torch.device("cuda"))
    recipe = RECIPE.model_copy(update={"sample_tokens": 46})
    with pytest.raises(RecipeError, match="on a GPU sample_tokens is a multiple of 4, not 46"):
        prune(small_model, tmp_path / "out", recipe, calibration=words, device="cuda")
