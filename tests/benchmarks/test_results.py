"""Result folders: every file says what made it, and the READMEs list them all."""

import json
import re

import pytest

from benchmarks import results
from benchmarks.host import RESULTS


@pytest.mark.parametrize("folder", sorted(p.name for p in RESULTS.iterdir() if p.is_dir()))
def test_the_readme_of_a_folder_is_that_of_its_files(folder):
    assert re.match(r"20\d\d-[01]\d-", folder)
    assert (RESULTS / folder / results.README).read_text() == results.readme(RESULTS / folder)


def test_a_result_says_what_made_it_and_updates_the_readme(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "command", lambda: "python -m benchmarks this")
    file = tmp_path / "2026-01-epyc-zen5" / "some.json"
    results.write_result(file, {"rows": [1]})
    saved = json.loads(file.read_text())
    assert saved["rows"] == [1]
    assert saved["run"]["command"] == "python -m benchmarks this"
    text = (file.parent / results.README).read_text()
    assert "## some.json" in text and "python -m benchmarks this" in text


def test_a_result_elsewhere_gets_no_readme(tmp_path):
    results.write_result(tmp_path / "some.json", {})
    assert [file.name for file in tmp_path.iterdir()] == ["some.json"]
