"""Documents hold what they promise: lines, links, anchors, paths and commands."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.documents import (
    DOCS,
    FENCE,
    PACKAGES,
    ROOT,
    anchors,
    code_spans,
    commands,
    documents,
    links,
    name_of,
    slug,
)

MOST_CHARACTERS = 120
TOP = {path.name for path in ROOT.iterdir()}


@pytest.fixture(params=documents(), ids=name_of)
def document(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_lines_are_short(document: Path) -> None:
    long = [
        f"{name_of(document)}:{number}"
        for number, line in enumerate(document.read_text().splitlines(), 1)
        if len(line) > MOST_CHARACTERS and not line.lstrip().startswith("|")
    ]
    assert not long


def test_code_spans_end_on_their_line(document: Path) -> None:
    # The tests below read spans line by line.
    text = FENCE.sub("", document.read_text())
    assert not [line for line in text.splitlines() if line.count("`") % 2]


def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{name_of(document)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(document)} links to {link}"


def test_pages_link_to_pages_of_the_site_only() -> None:
    # What lies outside docs/ is no page of the site: it is named by its path instead.
    for page in DOCS.rglob("*.md"):
        for link in links(page):
            if not link.startswith(("https://", "#")):
                target = (page.parent / link.partition("#")[0]).resolve()
                assert target.is_relative_to(DOCS), f"{name_of(page)} links to {link}"


def test_paths_in_backticks_exist(document: Path) -> None:
    words = [word for span in code_spans(document) for word in span.split()]
    words += [word for block in FENCE.findall(document.read_text()) for word in block.split()]
    for word in words:
        path = word.split("::")[0].rstrip("/,;:)")
        if not re.fullmatch(r"[\w.-]+(/[\w.*<>-]+)+", path) or path.split("/")[0] not in TOP:
            continue
        placeholder = any(re.fullmatch(r"[A-Z][A-Z-]+", part) for part in path.split("/"))
        if placeholder or path.startswith(("build/", "dist/")):
            continue
        assert list(ROOT.glob(path)), f"{name_of(document)} names {word}"


def test_names_in_backticks_exist(document: Path) -> None:
    for span in code_spans(document):
        dotted = re.match(r"(tvm_c4n|schedules|relay_passes)((?:\.\w+)+)", span)
        if not dotted or span.endswith((".git", ".yml")):
            continue
        path, names = ROOT / dotted[1], dotted[2][1:].split(".")
        while names and ((path / names[0]).is_dir() or (path / f"{names[0]}.py").exists()):
            path, names = path / names[0], names[1:]
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if names:
            assert re.search(rf"\b{names[0]}\b", source.read_text()), (
                f"{name_of(document)} names {span}"
            )


@cache
def modules() -> list[str]:
    """Return the texts of all modules."""
    folders = [ROOT / name for name in (*PACKAGES, "benchmarks")]
    return [file.read_text() for folder in folders for file in folder.rglob("*.py")]


def test_classes_and_their_attributes_exist(document: Path) -> None:
    for span in code_spans(document):
        found = re.fullmatch(r"([A-Z][a-z0-9]+[A-Za-z0-9]*)(?:\.([a-z]\w*))?(?:\(.*\))?", span)
        if not found or (found[2] is None and not re.search(r"[a-z][A-Z]", found[1])):
            continue
        using = [text for text in modules() if re.search(rf"\b{found[1]}\b", text)]
        assert using, f"{name_of(document)} names {span}"
        defining = [text for text in using if re.search(rf"^class {found[1]}\b", text, re.M)]
        if found[2] and defining:
            assert any(re.search(rf"\b{found[2]}\b", text) for text in defining), (
                f"{name_of(document)} names {span}"
            )


def test_documents_that_code_names_exist() -> None:
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob(".ci/*")]
    for folder in (*PACKAGES, "tests", "benchmarks", "tools"):
        files += [
            file
            for file in (ROOT / folder).rglob("*")
            if file.suffix in (".py", ".c", ".cpp", ".hpp", ".sh", ".txt", ".md")
            and file.stat().st_size < 1 << 20
        ]
    for file in files:
        for named in re.findall(r"\bdocs/[\w/.-]+\.(?:md|svg|png)\b", file.read_text()):
            assert (ROOT / named).exists(), f"{name_of(file)} names {named}"


def test_unkept_samples_are_mentioned_in_decisions_only() -> None:
    for document in documents():
        if "decisions" not in document.parts:
            text = " ".join(document.read_text().split())
            assert not re.search(r"samples? (were )?not kept", text), name_of(document)


@cache
def options_of() -> dict[str, set[str]]:
    """Return the spellings of the options of each verb; old ones are hidden, and not among them."""
    import typer

    from tvm_c4n.cli.verbs import app

    return {
        name: {
            spelling
            for param in command.params
            if not getattr(param, "hidden", False)
            for spelling in _spellings(param)
        }
        for name, command in typer.main.get_command(app).commands.items()
    }


def _spellings(param: object) -> list[str]:
    return [*getattr(param, "opts", ()), *getattr(param, "secondary_opts", ()), "--help"]


def test_commands_have_the_verbs_and_options_that_documents_say(document: Path) -> None:
    known = options_of()
    for words in commands(document, "tvm-c4n"):
        rest = [word for word in words[1:] if word not in ("--debug", "--version", "--help")]
        if not rest or not re.fullmatch(r"[a-z]+", rest[0]):
            continue
        assert rest[0] in known, f"{name_of(document)}: {' '.join(words)}"
        for word in rest[1:]:
            option = word.partition("=")[0]
            if re.fullmatch(r"--?[a-z][a-z-]*", option):
                assert option in known[rest[0]], f"{name_of(document)}: {' '.join(words)}"


def test_options_in_the_text_are_those_of_some_verb(document: Path) -> None:
    known = set().union(*options_of().values()) | {"--debug", "--version"}
    for span in code_spans(document):
        option = re.match(r"--[a-z][a-z-]+", span)
        if option and document.is_relative_to(DOCS / "guides"):
            assert option[0] in known, f"{name_of(document)} names {span}"


def test_the_slugs_are_those_of_the_site() -> None:
    toc = pytest.importorskip("markdown.extensions.toc")
    for document in documents():
        for heading in re.findall(r"^#+ ([^`*\[\n]+)$", document.read_text(), re.MULTILINE):
            assert slug(heading) == toc.slugify(heading, "-")
