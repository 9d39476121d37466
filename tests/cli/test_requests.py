"""Files of prompts: every line is a request, or is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.cli.requests import Request, read_requests
from tvm_c4n.errors import C4nError

HELLO = [{"role": "user", "content": "Hello"}]


def test_lines_are_requests(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"prompt": "a\\nb"}\r\n\n{"prompt": "\u2028", "id": {"x": 1}}\n'
        '{"messages": [{"role": "user", "content": "Hello"}]}'
    )
    assert read_requests(file) == [
        Request("a\nb", labels={"index": 0}),
        Request("\u2028", labels={"index": 1, "id": {"x": 1}}),
        Request(messages=HELLO, labels={"index": 2}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.jsonl: holds no prompt"),
        ("{", "line 1: not valid JSON"),
        ('{"prompt": "a"}\n[1]', "line 2: JSON is not an object"),
        ('{"prompt": 1}', "line 1: neither a prompt nor messages"),
        ('{"prompt": "a", "messages": [1]}', "line 1: neither a prompt nor messages"),
        ('{"messages": []}', "line 1: neither a prompt nor messages"),
        ('{"id": 1}', "line 1: neither a prompt nor messages"),
        ('{"prompt": "a", "n": 1}', "line 1: unknown key 'n'"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(C4nError, match=said) as raised:
        read_requests(file)
    assert "a line looks like" in str(raised.value)
