"""The page of the command line is what `tvm-c4n --help` shows today."""

from __future__ import annotations

import importlib.util

from tests.docs.documents import DOCS, ROOT


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "tools/cli_reference.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (DOCS / "reference/cli.md").read_text() == script.page(), (
        "run: python tools/cli_reference.py"
    )
