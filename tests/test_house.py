"""The files around the code: what they promise about each other."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_version_is_the_same_everywhere():
    import tvm_c4n

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == tvm_c4n.__version__
    assert f"## {tvm_c4n.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_links_in_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            assert link.startswith("https://") or (document.parent / link).exists(), (
                f"{document.name} links to {link}"
            )


def test_make_targets_that_documents_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in [*ROOT.glob("*.md"), ROOT / ".ci" / "run"]:
        named = set(re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)", document.read_text(), re.M))
        for name in {first or second for first, second in named}:
            assert name in targets, f"{document.name} says make {name}"


def test_the_readme_table_is_that_of_the_saved_demo():
    import json

    table = (ROOT / "README.md").read_text()
    file = re.search(r"benchmarks/results/(demo-[a-z0-9-]+\.json)", table)
    assert file, "the README names the file that its table comes from"
    saved = json.loads((ROOT / "benchmarks" / "results" / file[1]).read_text())
    for model in saved["models"]:
        cells = [f"{model['packed_bytes'] / 1e6:.2f}", f"{model['ppl']:.2f}"]
        cells += [f"{cell['avg_ts']:.0f}" for cell in model["bench"]]
        row = next(line for line in table.splitlines() if line.startswith(f"| {model['name']}"))
        found = [cell.strip().split(" ±")[0] for cell in row.strip("|").split("|")]
        assert found[1:] == cells
