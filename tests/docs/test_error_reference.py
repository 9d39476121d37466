"""The page of error lines is the table that the tests run."""

from __future__ import annotations

from tests.docs.documents import DOCS, script


def test_the_page_is_current() -> None:
    page = script("error_reference").page()
    assert (DOCS / "reference/errors.md").read_text() == page, (
        "run: python tools/error_reference.py"
    )
