"""`.ci/run` ends with an error if the tests take far longer than CONTRIBUTING.md says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, contributing: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run a copy of `.ci/run` with a `make` that only says what it is told, and a false clock."""
    script = (ROOT / ".ci" / "run").read_text()
    # SECONDS is bash's clock: it is read before and after the tests, and set forward in
    # between.
    script = script.replace("make test\n", f"make test\nSECONDS=$((start + {seconds}))\n")
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(script)
    (tmp_path / "CONTRIBUTING.md").write_text(contributing)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "apt-get", "id"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (tools / name).chmod(0o755)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("seconds", "code"), [(0, 0), (880, 0), (950, 1)])
def test_half_as_long_again_as_promised_is_too_slow(
    tmp_path: Path, seconds: int, code: int
) -> None:
    done = run(tmp_path, (ROOT / "CONTRIBUTING.md").read_text(), seconds)
    assert done.returncode == code, done.stderr
    assert f"make test took {seconds // 10}" in done.stdout
    assert ("too slow" in done.stderr) == bool(code)


def test_the_budget_may_not_be_lost(tmp_path: Path) -> None:
    done = run(tmp_path, "# Contributing\n", 0)
    assert done.returncode == 1
    assert "no longer says how long" in done.stderr
    assert "make test\n" not in done.stdout


def test_the_slowest_tests_are_shown() -> None:
    assert "--durations=20" in (ROOT / "Makefile").read_text()
