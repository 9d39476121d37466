"""Without qemu and the cross compiler: the packages are named, and CI does not pass by skipping."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LINE = (
    "apt-get install -y --no-install-recommends qemu-user g++-aarch64-linux-gnu"
    # Without the line's end: a machine may have the two libraries but not the tools.
)


@pytest.fixture
def bare_path(tmp_path):
    """A PATH with what setup.sh itself calls, and no tools."""
    for name in ("bash", "dirname", "id"):
        (tmp_path / name).symlink_to(shutil.which(name))
    return str(tmp_path)


def test_setup_names_the_packages(bare_path, tmp_path):
    command = ["bash", str(HERE / "setup.sh"), str(tmp_path / "phone")]
    env = {**os.environ, "PATH": bare_path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert LINE in done.stderr
    assert not (tmp_path / "phone").exists()


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("true", "1 error"), pytest.param("", "1 skipped", marks=pytest.mark.slow)],
)
def test_the_fixture_skips_except_in_ci(ci, outcome, bare_path):
    test = f"{HERE / 'test_phone.py'}::test_sdot_is_exact"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": bare_path, "CI": ci},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout.splitlines()[-1], done.stdout
    assert LINE in done.stdout
