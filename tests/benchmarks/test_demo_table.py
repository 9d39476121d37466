"""The demo's table: 80 columns, and the README's is that of a saved result."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.demo_table import as_markdown, print_result, table_of

ROOT = Path(__file__).parents[2]
RESULT = re.compile(r"benchmarks/results/[a-z0-9-]+/demo(-full)?\.json")


def saved(names, rate=12345.6, threads=(2,)):
    cells = [
        {"n_threads": count, "n_prompt": p, "n_gen": g, "avg_ts": rate, "stddev_ts": 1234.5}
        for count in threads
        for p, g in ((512, 0), (0, 128))
    ]
    figures = {"size_bytes": 37_920_000, "ppl": 123.456, "bench": cells}
    return {"models": [{"name": name, **figures} for name in names]}


def test_the_table_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_result(saved(["30 % int4, healed"]), "caption")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == [
        "30",
        "%",
        "int4,",
        "healed",
        "37.9",
        "123.46",
        "12346",
        "±",
        "1234",
        "12346",
        "±",
        "1234",
    ]


def test_threads_are_named_where_there_are_several():
    head, rows = table_of(saved(["a"], threads=(1, 2)))
    assert head[3:] == ["pp512 t=1", "tg128 t=1", "pp512 t=2", "tg128 t=2"]
    assert len(rows[0]) == len(head)


def test_the_readme_table_is_that_of_the_saved_demo():
    text = (ROOT / "README.md").read_text()
    file = RESULT.search(text)
    if file is None:
        pytest.fail("the README names the file that its table comes from")
    result = json.loads((ROOT / file[0]).read_text())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    _, rows = table_of(result)
    wanted = {row[0]: row for row in rows}
    shown = [row for row in found if row[0] in wanted]
    assert len(shown) >= 5
    for row in shown:
        assert [cell.split(" ±")[0] for cell in row] == [
            cell.split(" ±")[0] for cell in wanted[row[0]]
        ]
    assert as_markdown(result).count("\n") == len(rows) + 1
