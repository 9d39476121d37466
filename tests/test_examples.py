"""Every example runs as its docstring says, in a process of its own, on models that are small.

`.ci/run` runs the slow ones, too.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# What starts a server first: tests/server/test_openai_client.py runs it.
WITH_A_SERVER = "server_client"


def run(name: str, folder: Path, *args: object) -> list[str]:
    """Run an example in a folder; returns the lines that it prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def needs(module: str, extra: str) -> None:
    """Skip where an extra is not installed; nothing is imported."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"pip install 'tvm-c4n[{extra}]'")


def test_every_example_says_how_to_run_it_and_is_run_here() -> None:
    files = {path.stem: path.read_text() for path in EXAMPLES.glob("*.py")}
    here = Path(__file__).read_text()
    for name, text in files.items():
        assert f"`python examples/{name}.py" in (ast.get_docstring(ast.parse(text)) or "")
        assert name == WITH_A_SERVER or f'run("{name}"' in here


def test_quickstart(small_artifact: Path, tmp_path: Path) -> None:
    lines = run("quickstart", tmp_path, small_artifact, "w7 w8 w9")
    assert lines[0] == "<tvm_c4n.Model art: mamba 0.0M dense float16>"
    assert lines[1].startswith("greedy:  w7 w8 w9w")
    assert lines[-1].startswith("3 tokens, log-probability -")
    assert len(lines) == 8


@pytest.mark.slow
def test_prune_to_a_target(small_model: Path, tmp_path: Path) -> None:
    needs("torch", "prune")
    lines = run("prune_to_a_target", tmp_path, small_model, "pruned", 0.4)
    most, packed, _ = (int(word) for word in re.findall(r"\d+", lines[0]))
    assert packed <= most
    assert sum(": n=" in line for line in lines) == 8
    assert lines[9].startswith("<tvm_c4n.Model pruned: mamba")


@pytest.mark.slow
def test_tvm_module(tmp_path: Path) -> None:
    lines = run("tvm_module", tmp_path)
    assert lines[0].startswith("1 of every 4 weights removed: the output changes by ")
    assert lines[1] == "relax.build with tvm_c4n.pipeline: the same numbers"


@pytest.mark.slow
def test_tune_over_rpc(tmp_path: Path) -> None:
    needs("xgboost", "tune")
    lines = run("tune_over_rpc", tmp_path, 2)
    assert lines[0].startswith("linear: {'panels': ")
    assert lines[1] == "built with these records"


@pytest.mark.slow
def test_lm_eval_task(small_artifact: Path, tmp_path: Path) -> None:
    needs("lm_eval", "lm-eval")
    lines = run("lm_eval_task", tmp_path, small_artifact)
    assert lines[-1].endswith("% of 4 pairs")
