"""YAML of strangers is what JSON can say, or one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tvm_c4n.checkpoint.yaml_reading import MAX_YAML_BYTES, parse_yaml, read_yaml
from tvm_c4n.errors import CheckpointError, RecipeError

GOOD = """
# a comment
flow: {a: 1, b: [2, 3]}
numbers: [010, -7, 1e-2, .5, 1.0e-05]
words: [no, on, 12:30, 2001-01-01, "5", '~', -]
rest: [true, FALSE, ~, null]
"no": yes
empty:
"""


def test_values_are_those_of_the_core_schema() -> None:
    assert parse_yaml(GOOD, "here", "") == {
        "flow": {"a": 1, "b": [2, 3]},
        "numbers": [10, -7, 0.01, 0.5, 1e-5],
        "words": ["no", "on", "12:30", "2001-01-01", "5", "~", "-"],
        "rest": [True, False, None, None],
        "no": "yes",
        "empty": None,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "here: YAML is not a mapping; try"),
        ("", "here: YAML is not a mapping; try"),
        ("a: 1\nb: 2\na: 3", "here: not valid YAML (line 3: duplicate key 'a'); try"),
        ("1: 2", "line 1: a key is no word"),
        ("? [a]\n: 1", "line 1: a key is no word"),
        ("a: &x 1\nb: *x", "line 2: an alias is not allowed here"),
        ("!!python/object/apply:os.system [true]", "line 1: a tag is not allowed here"),
        ("a: !!int 5", "line 1: a tag is not allowed here"),
        ("a: 1\n--- \nb: 1", "expected a single document"),
        ("a: {b: 1", "line 1: while parsing a flow mapping, expected ',' or '}'"),
        ("a: 1e999", "line 1: '1e999' is too large a number"),
        (f"a: {'9' * 5000}", "is too large a number"),
        ("a: \0", "special characters are not allowed"),
        (r'a: "\ud800"', "half a character, U+D800"),
        ("[" * 40, "here: YAML is nested too deeply; try"),
        ("[" * 100_000, "here: YAML is nested too deeply; try"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        parse_yaml(text, "here", "try")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\n" * (1 + MAX_YAML_BYTES // 5), "is too large (limit 262144); try"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"a: \xff", "not UTF-8 text"),
    ],
)
def test_files_that_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=re.escape(message)):
        read_yaml(tmp_path / "f.yaml", "try", RecipeError)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"a: 1\r\nb: 2\r\n")
    assert read_yaml(tmp_path / "f.yaml", "try") == {"a": 1, "b": 2}
