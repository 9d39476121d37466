"""What the tests of documents read: files, headings, links, commands."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("tvm_c4n", "schedules", "relay_passes")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """Return every document of the repository, those of bundled models and tools included."""
    found = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    for folder in (*PACKAGES, "tools", "benchmarks"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def name_of(document: Path) -> str:
    """Return the path in the repository."""
    return document.relative_to(ROOT).as_posix()


def slug(heading: str) -> str:
    """Return the anchor of a heading, as Python-Markdown's `toc` makes it for mkdocs."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    words = re.sub(r"[^\w\s-]", "", ascii_only).strip().lower()
    return re.sub(r"[-\s]+", "-", words)


def anchors(document: Path) -> set[str]:
    """Return the anchors of all headings; a heading that comes twice gets ``_1``."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE):
        anchor, count = slug(heading), 1
        while anchor in found:
            anchor, count = f"{slug(heading)}_{count}", count + 1
        found.add(anchor)
    return found


def links(document: Path) -> list[str]:
    """Return the targets of all links and pictures outside code."""
    text = re.sub(r"`[^`\n]+`", "", FENCE.sub("", document.read_text()))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def code_spans(document: Path) -> list[str]:
    """Return what stands in backticks, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", document.read_text()))


def commands(document: Path, program: str) -> list[list[str]]:
    """Return the words of each command line that starts with `program`, without comments.

    Fenced blocks and code spans are read; a backslash continues a line.
    """
    text = document.read_text()
    lines = "\n".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    found = []
    for line in lines:
        stripped = re.sub(r"\s#.*", "", line.strip().removeprefix("$ "))
        if stripped == program or stripped.startswith(program + " "):
            found.append(stripped.split())
    return found


def script(name: str) -> Any:
    """Return a module of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
