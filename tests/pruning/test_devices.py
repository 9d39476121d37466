"""A model pruned by what a GPU runs is the model that the CPU's compiled loops give."""

import pytest
import torch

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.pruning import Recipe, products, prune
from tvm_c4n.pruning.calibration import ops
from tvm_c4n.pruning.method import compensate, loops, permute, rotation, scales

RECIPE = Recipe(removed=2, dtype="int4", samples=24, sample_tokens=48, scale_group=32)


def assert_alike(one, other):
    """Compare two pruned folders: their masks, and the errors of their reports."""
    pairs = zip(one[1].projections, other[1].projections, strict=True)
    for first, second in pairs:
        assert first.output_error == pytest.approx(second.output_error, rel=0.02, abs=1e-4)
    checkpoints = [open_checkpoint(folder) for folder, _ in (one, other)]
    names = [row.name for row in one[1].projections if row.removed]
    same = [
        (checkpoints[0].weight(name).mask() == checkpoints[1].weight(name).mask()).mean()
        for name in names
    ]
    assert min(same) > 0.98


@pytest.fixture
def pruned(small_model, words, tmp_path):
    """``pruned(device)``: the small model's folder and report."""

    def run(device, name="out"):
        out = tmp_path / name
        options = {"calibration": words, "dense_export": False, "device": device}
        return out, prune(small_model, out, RECIPE, **options)

    return run


def test_in_torch_alone(pruned, monkeypatch):
    with monkeypatch.context() as patch:
        for module in (products, ops, compensate, loops, permute, rotation, scales):
            patch.setattr(module, "on_cpu", lambda tensor: False)
        there = pruned("cpu", "there")
    assert_alike(there, pruned("cpu", "here"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_on_a_gpu(pruned):
    assert_alike(pruned("cuda", "there"), pruned("cpu", "here"))
