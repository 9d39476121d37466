"""The fuzz: what it can see, and that it sees nothing wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.attacks.fuzz import forked
from tests.attacks.fuzz.forked import Outcome, run
from tests.attacks.fuzz.mutations import mutations_of
from tests.attacks.fuzz.of_bytes import CONTENT, PLACES
from tests.attacks.fuzz.verdict import verdict

# Those that are made within seconds, without a compiler.
QUICK = "shards,c4n,original,text,tokens,recipe"
NOTE = "compiling n2 for this CPU, once; kept in /cache\n"


@pytest.mark.parametrize(
    ("code", "err", "found"),
    [
        (0, "", ""),
        (0, "RuntimeWarning: invalid value\n", "warning"),
        (0, "Traceback (most recent call last):\n", "traceback"),
        (2, "error: a: missing file\n", ""),
        (2, NOTE + "error: a: missing file\n", ""),
        (2, "error: a\nerror: b\n", "2 lines"),
        (2, "a: missing file\n", "1 lines"),
        (2, "", "0 lines"),
        (2, "error: \x1b[2J\n", "control characters"),
        (1, "error: KeyError\n", "exit code 1"),
        (-11, "", "signal 11"),
    ],
)
def test_what_is_wrong_is_seen(code: int, err: str, found: str) -> None:
    assert verdict(Outcome(code, "", err, False, 0.1), []) == found


def test_what_is_left_is_seen() -> None:
    refused = Outcome(2, "", "error: a\n", False, 0.1)
    assert verdict(refused, [Path("in/healed")]) == ""
    assert verdict(refused, [Path("in/out")]) == "a half result"
    assert verdict(refused, [Path("in/.out.1-00000000.tmp")]) == "left in/.out.1-00000000.tmp"
    assert verdict(Outcome(0, "", "", True, 9.0), []) == "no end"


@pytest.mark.parametrize(
    ("script", "code", "timed_out"),
    [
        ("echo said; echo error: told >&2; exit 2", 2, False),
        ("kill -SEGV $$", -11, False),
        ("sleep 99", -9, True),
    ],
)
def test_a_process_of_its_own(
    tmp_path: Path, script: str, code: int, timed_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "LIMIT_SECS", 2)
    (tmp_path / "in").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "in" / "run").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "in" / "run").chmod(0o755)
    found = run(("./run",), tmp_path / "in", tmp_path / "beside")
    assert (found.code, found.timed_out) == (code, timed_out)
    if code == 2:
        assert (found.out, found.err) == ("said\n", "error: told\n")


@pytest.mark.parametrize("mutation", [*CONTENT, *PLACES], ids=lambda m: m.__name__)
def test_a_mutation_changes_the_file(mutation: object, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    good = b'{"model_type": "mamba", "sizes": [1, 2, 3]}'
    changed = 0
    for seed in range(8):
        if path.is_dir() and not path.is_symlink():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(good)
        mutation(path, Random(seed))  # type: ignore[operator]
        small = path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24
        changed += not small or path.read_bytes() != good
    assert changed >= 6


def test_formats_have_mutations_of_their_own(tmp_path: Path) -> None:
    def names(name: str) -> set[str]:
        return {mutation.__name__ for mutation in mutations_of(tmp_path / name)}

    save_file({"a": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    save_file({}, tmp_path / "empty.safetensors")

    assert names("c4n.json") == {"json_edited"}
    assert names("recipe.yaml") == {"yaml_edited", "lines_moved"}
    assert names("words.jsonl") == {"line_edited", "lines_moved"}
    assert names("database_workload.json") == {"line_edited", "lines_moved", "packed_edited"}
    assert {"shapes_swapped", "header_edited"} < names("model.safetensors")
    assert names("empty.safetensors") == {"header_edited", "length_changed"}
    assert names("weights.bin") == set()


def fuzz(*options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.fuzz", "--seed", "0", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(": 0 wrong\n")


def test_six_inputs() -> None:
    fuzz("--inputs", "6", "--kinds", QUICK)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_inputs(host_compiler: None) -> None:
    pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")
    fuzz("--inputs", "2000")
