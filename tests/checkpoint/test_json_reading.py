"""JSON of strangers: read within bounds, or refused in one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from tvm_c4n.checkpoint.json_reading import MAX_DEPTH, parse_json, parse_value, read_record
from tvm_c4n.errors import CheckpointError, TuneError


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": ["\\ud800"]}', "half a character, U+D800"),
        (b'{"\\udc00x": 1}', "half a character, U+DC00"),
        (b'{"a": 1e999}', "'1e999' is too large a number"),
        (b"[]", "JSON is not an object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested too deeply"),
        (b'{"' + b"k" * 1001 + b'": 1}', "a key of 1001 characters"),
        (json.dumps({str(i): 0 for i in range(100_001)}).encode(), "100001 keys"),
    ],
)
def test_damaged_json_is_one_line_with_its_cause(text: bytes, cause: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_json(text, "here", "get another")
    message = str(caught.value)
    assert message.startswith("here: ")
    assert cause in message
    assert message.endswith("get another")
    assert message.isprintable()


def test_json_within_the_bounds_is_read() -> None:
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_value(nested, "here", "no") == json.loads(nested)
    assert parse_json('{"a": [1, 2.5, null, "b"]}', "here", "no") == {"a": [1, 2.5, None, "b"]}


class _Entry(BaseModel):
    count: int


class _Kind(BaseModel):
    entries: dict[str, _Entry]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({}, "entries: Field required"),
        ({"entries": {"a": {}}}, "entries.a.count: Field required"),
        ({"entries": {"a\x1b[2J": {"count": "x"}}}, r"entries.a\x1b[2J.count: Input should be a"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_named(
    content: object, cause: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    with pytest.raises(TuneError) as caught:
        read_record(file, _Kind, 1000, "tune again", TuneError)
    assert f"{file}: {cause}" in str(caught.value)
    assert str(caught.value).endswith("; tune again")
