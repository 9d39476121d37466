"""`tvm-c4n prune` to a budget: the table, the files, and options that make no sense."""

import json

import pytest


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
    ("options", "named"),
    [
        (["--sparsity", "0.3", "--size", "1MB"], "one budget at a time"),
        (["--size", "9"], "--size 9: use a number and KB, MB, GB"),
        (["--size", "ninemb"], "--size ninemb"),
        (["--latency", "8ms"], "--latency-table DIR"),
        (["--latency", "8ms", "--latency-table", "nowhere"], "nowhere: cannot be read"),
        (["--latency", "8ms", "--records", "nowhere"], "nowhere: cannot be read"),
        (["--sparsity", "0.9"], "sparsity 0.9"),
        (["--ppl-ratio", "0.9"], "ppl-ratio 0.9"),
        (["--without", "magic"], "without"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(call, small_model, tmp_path, options, named):
    result = call("prune", small_model, "-o", tmp_path / "out", *options)
    assert result.code == 2
    assert named in result.err and result.err.startswith("error: ")
    assert result.err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
