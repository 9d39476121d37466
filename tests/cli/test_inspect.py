"""`tvm-c4n inspect`: its table."""

import pytest

from tvm_c4n.cli.console import pattern


@pytest.mark.parametrize(
    ("removed", "text"),
    [
        ({0: 3}, "dense"),
        ({2: 16}, "n=2: 2 of 4 removed, 50 % kept"),
        ({2: 4, 0: 1, 1: 11}, "dense x1, n=1 x11, n=2 x4"),
    ],
)
def test_a_pattern_is_described_and_several_are_counted(removed, text):
    assert pattern(removed) == text


def test_inspect_reads_all_three_kinds_of_folder(call, small_model, pruned, artifact):
    dense = call("inspect", small_model)
    assert "Hugging Face folder" in dense.out
    assert "of 4 removed" not in dense.out
    for folder, kind in ((pruned, "C4n folder"), (artifact, "artifact")):
        found = call("inspect", folder)
        assert kind in found.out
        lines = found.out.splitlines()
        in_proj = next(line for line in lines if line.startswith("in_proj")).split()
        assert "n=2: 2 of 4 removed" in " ".join(in_proj)
        assert in_proj[-4:-2] == ["int8", "128"]
        x_proj = next(line for line in lines if line.startswith("x_proj")).split()
        assert x_proj[2] == "dense"
    export = call("inspect", pruned / "dense")
    assert export.out.count("2 of 4 removed") == 2


def test_a_page_is_written_beside_the_table(call, pruned, tmp_path):
    file = tmp_path / "page.html"
    found = call("inspect", pruned, "--html", file)
    assert found.code == 0, found.err
    assert found.out.splitlines()[-1] == f"page: {file}"
    page = file.read_text()
    assert page.startswith("<!doctype html>")
    assert "relative error" in page and "Measured" not in page
    measured = call("inspect", pruned, "--html", file, "--measure")
    assert measured.code == 0, measured.err
    assert "Measured: " in file.read_text()
