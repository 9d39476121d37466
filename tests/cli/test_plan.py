"""`tvm-c4n plan`: a table of 80 columns, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.models import HYBRID
from tvm_c4n.cli.plan import MOST_OTHERS, show
from tvm_c4n.plan.prediction import Option, Plan

WAYS = list(product(range(4), ("float16", "int8", "int4", "int3", "int2")))


@pytest.fixture
def only_config(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(HYBRID))
    return folder


@pytest.mark.slow
def test_the_table_fits_and_nothing_but_a_config_is_needed(
    only_config: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(only_config)
    shown = call("plan", "config.json", "--threads", "1")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "tiny: granitemoehybrid, 0.0 million parameters, 2 layers"
    assert lines[1].endswith("keys and values: 0.00 MB for 64 tokens")
    speeds = [] if "no speeds: other programs took" in shown.err else ["limit", "tokens/s"]
    assert lines[2].split() == ["n", "dtype", "disk", "memory", "per", "token", *speeds]
    ways = [[str(removed), dtype] for removed, dtype in WAYS]
    assert [line.split()[:2] for line in lines[3 : 3 + len(ways)]] == ways
    assert ("predicted for 1 thread, from kernels" in lines[-1]) == bool(speeds)
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_json_has_what_the_table_has(only_config: Path, call: Callable[..., Any]) -> None:
    shown = call("plan", only_config, "--json")
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert found["family"] == "granitemoehybrid"
    assert [(option["removed"], option["dtype"]) for option in found["options"]] == WAYS
    assert {"removed", "dtype", "disk_bytes", "tokens_per_sec"} <= set(found["options"][0])


@pytest.mark.parametrize("others", [MOST_OTHERS - 0.1, MOST_OTHERS])
def test_speeds_that_were_disturbed_are_not_printed(
    others: float, capsys: pytest.CaptureFixture[str]
) -> None:
    option = Option(2, "int4", 10**7, 10**8, 10**7, limit=400.0, tokens_per_sec=321.0)
    sizes = {"parameters": 10, "layers": 2, "hidden": 8, "vocabulary": 9, "context": None}
    places = {"state_bytes": 64, "kv_bytes": 0, "threads": 2, "bandwidth": 1e9}
    show(Plan("m", "mamba", **sizes, **places, options=(option,), others_cores=others))
    shown = capsys.readouterr()
    assert ("321" in shown.out) == (others < MOST_OTHERS)
    assert ("repeat it on an idle machine" in shown.err) == (others >= MOST_OTHERS)
    assert "10.00 MB" in shown.out
