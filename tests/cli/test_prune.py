"""`tvm-c4n prune`: its tables and files, budgets, and options that make no sense."""

import json
import re

import numpy as np

from tvm_c4n.cli.prune import _show_allocation
from tvm_c4n.pruning.allocation.latency import LatencyTable


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


def write_table(folder):
    """The table of a busy machine: the medians are three times the least samples."""
    secs = {"seconds": {"min": 1e-6, "median": 3e-6, "max": 9e-6}}
    sizes = {"rows": 64, "cols": 16, "removed": 2, "dtype": "int4", "threads": 1}
    rest = {"hidden": 16, "layers": 2, "vocab": 64, "threads": 1, **secs}
    table = {"format": 2, "target": {}, "emulated": False, "rows": [{**sizes, **secs}]}
    (folder / "latency.json").write_text(json.dumps({**table, "rest": [rest]}))


def test_a_table_that_is_doubted_is_used(call, tmp_path):
    """The line comes before anything is measured: here the model is missing."""
    write_table(tmp_path)
    args = ["prune", tmp_path / "none", "-o", tmp_path / "out", "--latency", "1ms"]
    result = call(*args, "--latency-table", tmp_path)
    assert result.code == 2
    assert result.err.startswith("the latency table is doubtful: samples disagree: int4 n=2 takes")
    assert "none: " in result.err


def test_a_prediction_says_what_it_is_worth(tmp_path, capsys):
    write_table(tmp_path)
    point = {"cost": 1e-3, "predicted_loss": 0.1}
    found = {"unit": "seconds", "target": {"workload": "tg1"}, "front": [point], "gap": 0}
    found |= {"chosen": point, "greedy": None, "uniform": None, "measured_ratio": None}
    (tmp_path / "allocation.json").write_text(json.dumps(found))
    _show_allocation(tmp_path, LatencyTable.read(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Pareto front (exact)"
    assert lines[4] == (
        "these are predictions: the table's samples are up to 200% apart, and no whole model was "
        "measured with it"
    )


def test_a_recipe_says_what_the_options_said(call, small_model, words, tmp_path):
    options = ["--removed", "in_proj=3,layers.1.out_proj=1", "--dtype", "int4", "--samples", "4"]
    text = ["--calibration", words]
    file = tmp_path / "recipe.yaml"
    file.write_text(call("prune", small_model, *options, "--show-recipe").out)
    by_options, by_file, again = (tmp_path / name for name in ("options", "file", "again"))
    assert call("prune", small_model, "-o", by_options, *options, *text).code == 0
    assert call("prune", small_model, "-o", by_file, "--recipe", file, *text).code == 0
    report = by_file / "report.json"
    assert call("prune", small_model, "-o", again, "--recipe", report, *text).code == 0
    for name in ("model.safetensors", "c4n.json"):
        assert (by_options / name).read_bytes() == (by_file / name).read_bytes()
        assert (by_options / name).read_bytes() == (again / name).read_bytes()


def test_a_budget_has_a_recipe_that_makes_its_model_again(call, small_model, words, tmp_path):
    budget = ["--size", "24KB", "--samples", "4", "--calibration", words]
    shown = call("prune", small_model, *budget, "--show-recipe")
    assert shown.code == 0, shown.err
    assert "layers.1.out_proj:" in shown.out
    (tmp_path / "recipe.yaml").write_text(shown.out)
    first, second = tmp_path / "first", tmp_path / "second"
    assert call("prune", small_model, "-o", first, *budget).code == 0
    repeat = ["--recipe", tmp_path / "recipe.yaml", "--calibration", words]
    assert call("prune", small_model, "-o", second, *repeat).code == 0
    recipes = [json.loads((out / "report.json").read_text())["recipe"] for out in (first, second)]
    assert recipes[0] == recipes[1]
    weights = [(out / "model.safetensors").read_bytes() for out in (first, second)]
    assert weights[0] == weights[1]
