"""Write docs/reference/errors.md from the table of error lines that the tests run.

Run it after a change of the table, `tests/cli/errors/`; `tests/docs/test_error_reference.py` fails
where it was forgotten.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.cli.errors.case import Case  # noqa: E402
from tests.cli.errors.cases import TABLE  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "errors.md"
HEAD = """# Error lines

*What the command line says when it refuses, by verb and by place.* This page is generated:
`python tools/error_reference.py` makes it from the table in `tests/cli/errors`, every row of which
a test runs.

An error is one line on stderr that begins with `error: `: what is wrong, where, and what to do.
Nothing has been written then. A usage error (an unknown option, a missing argument) shows the usage
as well. [Exit codes](python.md#errors).

The commands ran in a folder HERE with a dense `model`, a `pruned` one, `model.art` compiled from
it, and `text.jsonl`, on two cores. In the last sections something is wrong with these files or with
what is installed.
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(_section(place, cases) for place, cases in TABLE.items())


def _section(place: str, cases: list[Case]) -> str:
    rows = "".join(
        f"| {case.wrong} | {_code(case.command)} | {_code(case.line)} | {case.code} |\n"
        for case in cases
    )
    return (
        f"\n## {place}\n\n| what is wrong | command | line | exit code |\n|---|---|---|---|\n{rows}"
    )


def _code(text: str) -> str:
    """Return a text as code in a cell."""
    quotes = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return quotes + space + text.replace("|", r"\|") + space + quotes


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
