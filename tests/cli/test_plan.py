"""`tvm-c4n plan`: a table of 80 columns, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models import HYBRID


@pytest.fixture
def only_config(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(HYBRID))
    return folder


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
    assert lines[2].split() == ["n", "dtype", "disk", "memory", "per", "token", "limit", "tokens/s"]
    assert [line.split()[:2] for line in lines[3:15:4]] == [
        ["0", "float16"],
        ["1", "int8"],
        ["2", "int4"],
    ]
    assert "predicted for 1 thread, from kernels" in lines[-1]
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_json_has_what_the_table_has(only_config: Path, call: Callable[..., Any]) -> None:
    shown = call("plan", only_config, "--json")
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert found["family"] == "granitemoehybrid"
    assert len(found["options"]) == 12
    assert {"removed", "dtype", "disk_bytes", "tokens_per_sec"} <= set(found["options"][0])
