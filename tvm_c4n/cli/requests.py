"""What `run` is asked: one prompt, or a file of them in JSON lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvm_c4n.errors import C4nError, shown

JSONL_HELP = (
    'Prompts: one JSON object per line with "prompt", or "messages" of a chat, and an "id" if you '
    "like; one result per line, as JSON."
)
_KEYS = ("prompt", "messages", "id")
_LOOKS = 'a line looks like {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'


@dataclass(frozen=True)
class Request:
    """A text to continue, or the messages of a chat to answer.

    Attributes
    ----------
    prompt : str
        Where there are no messages.
    messages : list
        As in transformers.
    labels : dict
        What the result begins with: ``index`` and ``id`` of a line.
    """

    prompt: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)


def read_requests(path: Path) -> list[Request]:
    """Read a file of JSON lines.

    Raises
    ------
    C4nError
        Missing, too long, not UTF-8, without a line, or a line that is no request: named.
    """
    from tvm_c4n.checkpoint.json_reading import parse_json
    from tvm_c4n.checkpoint.reading import MAX_TEXT_BYTES, read_text

    text = read_text(path, MAX_TEXT_BYTES, _LOOKS, C4nError)
    # Not splitlines: JSON strings may hold other Unicode line ends unescaped.
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise C4nError(f"{path}: holds no prompt; {_LOOKS}")
    found = []
    for index, (number, line) in enumerate(lines):
        where = f"{path}: line {number}"
        found.append(_request(parse_json(line, where, _LOOKS, C4nError), index, where))
    return found


def _request(value: dict[str, Any], index: int, where: str) -> Request:
    for key in value:
        if key not in _KEYS:
            raise C4nError(f"{where}: unknown key {shown(key)}; {_LOOKS}")
    labels = {"index": index, **({"id": value["id"]} if "id" in value else {})}
    prompt, messages = value.get("prompt"), value.get("messages")
    if isinstance(prompt, str) and messages is None:
        return Request(prompt, labels=labels)
    if prompt is None and isinstance(messages, list) and messages:
        return Request(messages=messages, labels=labels)
    raise C4nError(f"{where}: neither a prompt nor messages; {_LOOKS}")
