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


def test_make_targets_that_documents_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / ".ci" / "run"]:
        named = set(re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)", document.read_text(), re.M))
        for name in {first or second for first, second in named}:
            assert name in targets, f"{document.name} says make {name}"
