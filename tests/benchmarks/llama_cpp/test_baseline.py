"""llama-bench as a process: what is asked of it, and what is read from its answer."""

import json
from pathlib import Path

import pytest

from benchmarks.llama_cpp import baseline
from tvm_c4n.errors import C4nError


@pytest.fixture
def llama_bench(tmp_path, monkeypatch):
    program = tmp_path / "build" / "bin" / "llama-bench"
    program.parent.mkdir(parents=True)
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))

    def write(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return tmp_path / "model.gguf"

    return write


def test_the_measured_test_is_read_and_not_its_warm_up(llama_bench):
    rows = [
        {"n_prompt": 0, "n_gen": 2, "avg_ns": 1, "model_size": 10},
        {"n_prompt": 0, "n_gen": 64, "avg_ns": 2e9, "model_size": 10},
    ]
    file = llama_bench(f"echo \"$@\" >&2; echo '{json.dumps(rows)}'")
    assert baseline.run(file, 2, 0, 64) == (2.0, 10)


def test_a_failure_is_one_line_with_what_it_said(llama_bench):
    file = llama_bench("echo no such model >&2; exit 3")
    with pytest.raises(C4nError, match=r"llama-bench model.gguf: exit 3: no such model"):
        baseline.run(file, 2, 0, 64)


def test_programs_that_are_not_built_name_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    with pytest.raises(C4nError, match="make bench-llama builds it"):
        baseline.program("llama-bench")


def test_the_version_is_that_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    assert baseline.version() == ""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "PKG-INFO").write_text("Metadata-Version: 2.1\nVersion: 0.3.36\n")
    assert baseline.version() == "0.3.36"
