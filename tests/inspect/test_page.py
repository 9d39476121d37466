"""The page loads nothing, runs nothing, and shows what is there, whoever wrote it."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.inspect.test_details import ERROR, FRONT, REPORT
from tvm_c4n.inspect.details import Roofline, details_of
from tvm_c4n.inspect.page import page
from tvm_c4n.inspect.summary import summarize

HOSTILE = '"><script>alert(1)</script><img src=//x onerror=alert(2)>&amp;'


class Seen(HTMLParser):
    """The tags of a page, with their attributes, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def seen(folder: Path, roofline: Roofline | None = None) -> Seen:
    """Make a folder's page and parse it."""
    summary = summarize(folder)
    found = Seen()
    found.feed(page(summary, details_of(summary), roofline or Roofline(10, 20, 100.0)))
    return found


@pytest.fixture
def reported(small_model: Path, tmp_path: Path) -> Path:
    """A folder with both reports."""
    folder = Path(shutil.copytree(small_model, tmp_path / "model"))
    (folder / "report.json").write_text(json.dumps(REPORT))
    (folder / "allocation.json").write_text(json.dumps(FRONT))
    return folder


def test_nothing_is_loaded_and_nothing_runs(reported: Path) -> None:
    found = seen(reported)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "a", "form", "base"}
    for _, attributes in found.tags:
        assert not {"src", "href", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", "".join(found.texts))
    policy = [a["content"] for _, a in found.tags if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_is_there_is_shown(reported: Path, small_artifact: Path) -> None:
    text = " ".join(seen(reported, Roofline(10, 20, 100.0, 7.0)).texts)
    for part in ("Relative error by layer", "Pareto front", "Roofline", "Measured: 7 tokens/s"):
        assert part in text
    assert "pruned from model by obs, int8" in text
    assert "layer 1, in_proj: dense, float16, 0.008 MB, relative error 0.25" in text
    compiled = " ".join(seen(small_artifact).texts)
    assert "compiled for host" in compiled
    assert "No report.json is here" in compiled
    assert "Pareto front" not in compiled
    assert "Measured" not in compiled


def test_names_of_strangers_are_text(small_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "")
    shutil.copytree(small_model, folder)
    spoiled = {**REPORT, "source": HOSTILE, "recipe": {"method": HOSTILE, "dtype": ["\u202e"]}}
    rows = [{"name": HOSTILE, "layer": 0, "projection": HOSTILE} | ERROR]
    (folder / "report.json").write_text(json.dumps({**spoiled, "projections": rows}))
    (folder / "allocation.json").write_text(json.dumps({**FRONT, "unit": HOSTILE}))
    found = seen(folder)
    harmless = "html head meta title style body h1 h2 p div table tr th td ul li figure svg g rect"
    harmless += " text line polyline circle"
    assert {tag for tag, _ in found.tags} <= set(harmless.split())
    assert not [a for _, a in found.tags if "onerror" in a or "src" in a]
    text = "".join(found.texts)
    assert HOSTILE in text
    assert "\u202e" not in text
