"""The page of the command line is what `tvm-c4n --help` shows today."""

from __future__ import annotations

from tests.docs.documents import DOCS, script


def test_the_page_is_current() -> None:
    page = script("cli_reference").page()
    assert (DOCS / "reference/cli.md").read_text() == page, "run: python tools/cli_reference.py"
