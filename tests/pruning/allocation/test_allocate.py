"""Whole runs to a budget: it is met, the exact front is no worse than the baselines, it is told."""

import json

import numpy as np
import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families import describe_model
from tvm_c4n.pruning import Recipe, prune
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.latency import LatencyTable, Rest
from tvm_c4n.pruning.recipe import Choice

RECIPE = Recipe(dtype="int8", samples=12, sample_tokens=48, scale_group=32)


def run(small_model, words, out, budget):
    report = prune(small_model, out, RECIPE, budget=budget, calibration=words, dense_export=False)
    return report, json.loads((out / "allocation.json").read_text())


def test_a_sparsity_is_met_in_the_recipes_dtype(small_model, words, tmp_path):
    report, found = run(small_model, words, tmp_path / "out", Budget("sparsity", 0.3))
    shapes = describe_model(open_checkpoint(small_model).config).tensor_shapes()
    weights = {row.name: np.prod(shapes[row.name]) for row in report.projections}
    removed = sum(weights[row.name] * row.removed / 4 for row in report.projections)
    assert 0.3 <= removed / sum(weights.values()) < 0.36
    assert {row.dtype for row in report.projections if "dt_proj" not in row.name} == {"int8"}
    for baseline in ("greedy", "uniform"):
        if found[baseline]:
            assert found["chosen"]["predicted_loss"] <= found[baseline]["predicted_loss"] + 1e-12
    losses = [point["predicted_loss"] for point in found["front"]]
    assert losses == sorted(losses, reverse=True) and found["gap"] == 0


def test_a_size_is_met_to_the_byte(small_model, words, tmp_path):
    report, found = run(small_model, words, tmp_path / "out", Budget("size", 21_000.0))
    assert report.packed_bytes == found["chosen"]["cost"] <= 21_000
    assert report.packed_bytes > 19_000  # the budget is used
    checkpoint = open_checkpoint(tmp_path / "out")
    for name, choice in found["choices"].items():
        weight = checkpoint.weight(name)
        assert (weight.removed, weight.dtype) == (choice["removed"], choice["dtype"])


def test_a_size_out_of_reach_says_what_is_in_reach(small_model, words, tmp_path):
    with pytest.raises(RecipeError, match=r"size 0\.001MB: the smallest is 0\.0\dMB"):
        run(small_model, words, tmp_path / "out", Budget("size", 1000.0))
    assert list(tmp_path.iterdir()) == []


def test_a_perplexity_ratio_is_measured(small_model, words, tmp_path):
    report, found = run(small_model, words, tmp_path / "out", Budget("ppl_ratio", 1.02))
    assert found["measured_ratio"] <= 1.02
    assert report.packed_bytes == found["chosen"]["cost"]
    assert any(row.removed for row in report.projections)


def test_a_latency_is_met_by_the_table(small_model, words, tmp_path):
    config = describe_model(open_checkpoint(small_model).config)
    shapes = {s for n, s in config.tensor_shapes().items() if "_proj.weight" in n or "embed" in n}

    def seconds(value):
        return {"min": value / 2, "median": value, "max": 2 * value}

    costs = {"float16": 3, "int8": 2, "int4": 1}
    rows = [
        {
            "rows": r,
            "cols": c,
            "removed": n,
            "dtype": dtype,
            "threads": 2,
            "seconds": seconds(
                1e-9 * r * c * (4 - n) * {"float16": 3, "int8": 2, "int4": 1}[dtype]
            ),
        }
        for r, c in sorted(shapes)
        for n in range(4)
        for dtype in costs
    ]
    rest = {**Rest.sizes_of(config), "threads": 2, "seconds": seconds(1e-5)}
    table = LatencyTable.model_validate(
        {"format": 1, "target": {}, "emulated": True, "rows": rows, "rest": [rest]}
    )
    wanted = 1e-4
    report, found = run(small_model, words, tmp_path / "out", Budget("latency", wanted, table))
    chosen = {row.name: Choice(row.removed, row.dtype) for row in report.projections}
    head = "backbone.embeddings.weight"
    chosen[head] = Choice(0, found["choices"][head]["dtype"])
    shape = config.tensor_shapes()
    total = 1e-5 + sum(table.seconds(*shape[name], choice) for name, choice in chosen.items())
    assert total == pytest.approx(found["chosen"]["cost"])
    assert 0.9 * wanted < total <= wanted
