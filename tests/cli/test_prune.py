"""`tvm-c4n prune`: its tables and files, budgets, and options that make no sense."""

import json
import re

import numpy as np
import pytest

from tvm_c4n.cli.prune import parse_removed
from tvm_c4n.errors import RecipeError


def test_a_size_is_met_and_the_front_is_printed(call, small_model, words, tmp_path):
    out = tmp_path / "out"
    args = ["prune", small_model, "-o", out, "--calibration", words, "--samples", "4"]
    first = call(*args)
    assert first.code == 0, first.err
    dense = json.loads((out / "report.json").read_text())["packed_bytes"]
    wanted = dense * 0.8
    result = call(*args, "--overwrite", "--size", f"{wanted / 1e3}KB")
    assert result.code == 0, result.err
    assert "Pareto front (exact)" in result.out
    assert "predicted loss" in result.out
    chosen = next(line for line in result.out.splitlines() if line.startswith("chosen"))
    saved = json.loads((out / "allocation.json").read_text())
    assert f"{saved['chosen']['cost'] / 1e6:.2f}" in chosen
    packed = json.loads((out / "report.json").read_text())["packed_bytes"]
    assert packed == saved["chosen"]["cost"] <= wanted
    drawn = [(out / name).is_file() for name in ("front.png", "removed.png")]
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        assert "they need matplotlib" in result.out and not any(drawn)
    else:
        assert "front.png" in result.out and all(drawn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("in_proj=2,out_proj=1", {"in_proj": 2, "out_proj": 1}),
        (" in_proj = 3 ", {"in_proj": 3}),
        ("layers.3.out_proj=1", {"layers.3.out_proj": 1}),
    ],
)
def test_removed_is_a_number_or_one_per_projection(text, expected):
    assert parse_removed(text) == expected


@pytest.mark.parametrize(
    "text", ["", "two", "in_proj=", "=2", "in_proj=2,", "in_proj=2,in_proj=1", "in_proj=2;x=1"]
)
def test_other_values_of_removed_are_refused(text):
    with pytest.raises(RecipeError, match="--removed"):
        parse_removed(text)


def test_prune_says_what_it_did_and_where_it_is(call, small_model, words, tmp_path):
    out = tmp_path / "out"
    args = ["prune", small_model, "-o", out, "--removed", "in_proj=3,out_proj=1"]
    args += ["--dtype", "int8", "--calibration", words, "--samples", "4", "--method", "magnitude"]
    result = call(*args)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    in_proj = next(line for line in lines if line.startswith("in_proj"))
    assert "3 of 4 removed" in in_proj
    assert "int8" in in_proj
    assert "1 of 4 removed" in next(line for line in lines if line.startswith("out_proj"))
    size = next(line for line in lines if line.startswith("size:"))
    assert re.search(r" MB -> .* MB, \d\.\dx smaller", size)
    assert size.split(" -> ")[1].split(",")[0] in call("inspect", out).out.splitlines()[0]
    assert lines[-1] == f'next:          tvm-c4n run {out} -p "Once upon a time"'
    assert max(len(line.rstrip()) for line in lines if str(out) not in line) <= 80
    assert str(out / "dense") in result.out
    assert (out / "dense" / "model.safetensors").is_file()
    report = json.loads((out / "report.json").read_text())
    assert report["recipe"]["method"] == "magnitude"
    assert report["recipe"]["samples"] == 4
    mean = np.mean([p["output_error"] for p in report["projections"] if p["removed"] == 3])
    assert f"{mean:.4f}" in in_proj
    # The second time the folder is there.
    again = call(*args)
    assert again.code == 2
    assert again.err.startswith("error: ")
    assert call(*args, "--overwrite").code == 0


def test_the_first_spelling_of_the_latency_table_is_hidden(call):
    shown = call("prune", "--help").out
    assert "--latency-table" in shown
    assert "--records" not in shown
