"""Projections, the reports beside them, and the bytes of a token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.models import HF, write_model, write_tokenizer
from tvm_c4n.errors import CheckpointError
from tvm_c4n.inspect.details import details_of, token_bytes
from tvm_c4n.inspect.summary import summarize

ERROR = {"masked_error": 0.5, "output_error": 0.25, "size_bytes": 7, "removed": 2, "dtype": "int8"}
REPORT = {
    "source": "model",
    "recipe": {"method": "obs", "dtype": "int8"},
    "calibration": "text",
    "projections": [
        {"name": "backbone.layers.1.mixer.in_proj.weight", "layer": 1, "projection": "in_proj"}
        | ERROR
    ],
    "source_bytes": 1,
    "disk_bytes": 1,
    "packed_bytes": 1,
    "run_secs": 1.0,
}
POINT = {"cost": 10.0, "predicted_loss": 0.1}
FRONT = {
    "unit": "bytes",
    "front": [POINT],
    "chosen": POINT,
    "greedy": None,
    "uniform": POINT,
    "choices": {},
}


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def test_without_reports_there_are_projections_only(folder: Path) -> None:
    found = details_of(summarize(folder))
    assert [(m.layer, m.kind) for m in found.matrices[:5]] == [
        (0, "in_proj"),
        (0, "x_proj"),
        (0, "dt_proj"),
        (0, "out_proj"),
        (1, "in_proj"),
    ]
    assert {(m.removed, m.dtype) for m in found.matrices} == {(0, "float16")}
    assert found.matrices[0].size_bytes == 2 * 128 * 32
    assert (found.errors, found.report, found.front) == ({}, None, None)


def test_reports_are_read(folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(REPORT))
    (folder / "allocation.json").write_text(json.dumps(FRONT))
    found = details_of(summarize(folder))
    assert found.errors == {"backbone.layers.1.mixer.in_proj.weight": 0.25}
    assert found.front is not None
    assert (found.front.chosen.cost, found.front.greedy) == (10.0, None)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("report.json", {**REPORT, "source": 3}, r"report\.json: source: .*prune again"),
        ("report.json", [], r"report\.json: JSON is not an object"),
        ("allocation.json", {**FRONT, "chosen": None}, r"allocation\.json: chosen: "),
        ("allocation.json", {**FRONT, "front": [{"cost": -1}]}, r"allocation\.json: front\.0\."),
    ],
)
def test_damaged_reports_are_refused(
    folder: Path, file: str, content: object, message: str
) -> None:
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        details_of(summarize(folder))


def test_a_token_moves_weights_and_states(folder: Path, small_artifact: Path) -> None:
    own, dense = token_bytes(summarize(folder))
    assert own == dense  # it is dense in float16
    states = 2 * (2 * 3 * 64 * 4 + 2 * 4 * 64 * 4)
    assert own > summarize(folder).size_bytes + states
    assert token_bytes(summarize(small_artifact)) == (own, dense)


def test_embeddings_that_are_no_head_are_not_read(small_model: Path, tmp_path: Path) -> None:
    write_model(tmp_path, {**HF, "tie_word_embeddings": False})
    write_tokenizer(tmp_path)
    assert token_bytes(summarize(tmp_path)) == token_bytes(summarize(small_model))
