"""Fixtures for the tests of the runtime."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_artifact(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, compiled for this machine. Tests change copies."""
    from tvm_c4n.compile.artifact import compile_model  # most tests do without

    out = tmp_path_factory.mktemp("small") / "art"
    compile_model(small_model, out)
    return out
