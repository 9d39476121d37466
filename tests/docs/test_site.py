"""The site's contents, the decisions and the architecture page are complete."""

from __future__ import annotations

import re
import tomllib

from tests.docs.documents import DOCS, ROOT

MOST_LINES = 50  # of a decision: one screen


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(
        r"^\s+- (?:[^:\n]+: )?([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert set(named) == pages
    assert len(named) == len(set(named))


def test_every_decision_is_in_the_index_fits_a_screen_and_decides() -> None:
    folder = DOCS / "decisions"
    index = (folder / "index.md").read_text()
    for page in folder.glob("*.md"):
        if page.name == "index.md":
            continue
        text = page.read_text()
        assert f"({page.name})" in index, f"{page.name} is not in the index"
        assert len(text.splitlines()) <= MOST_LINES, page.name
        assert re.search(r"^## (Decision|Context|Options)", text, re.M), page.name
        assert "## Decision" in text, page.name


def test_the_picture_shows_the_layers_that_the_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [
        name.strip().removeprefix("tvm_c4n.")
        for line in contracts["contracts"][0]["layers"]
        for name in re.split(r"[|:]", line)
    ]
    picture = (DOCS / "images" / "architecture.svg").read_text().partition(">Layers<")[2]
    shown = re.findall(r'<tspan font-weight="bold">([\w.]+)</tspan>', picture)
    assert shown == layers


def test_the_readme_is_short_and_starts_with_a_command() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 100
    first = next(n for n, line in enumerate(lines, 1) if line.startswith("tvm-c4n "))
    assert first <= 25
