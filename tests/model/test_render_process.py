"""A process that was started ahead renders one chat, and is gone afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.model.chat_template import ChatTemplate
from tvm_c4n.model.render_process import NextProcess, RenderProcess


def request(template: str) -> str:
    limits = {"max_characters": 100, "seconds": 5, "size_bytes": 1 << 29}
    return json.dumps({"template": template, "variables": {"a": "b"}, **limits})


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def process() -> Iterator[RenderProcess]:
    made = RenderProcess()
    yield made
    made.close()


def test_it_answers_once(process: RenderProcess) -> None:
    ended = process.ask(request("{{ a }}c"), 60)
    assert ended is not None
    assert (ended.code, json.loads(ended.out), ended.err) == (0, {"text": "bc"}, "")
    assert not is_there(process._process.pid)


def test_one_that_takes_too_long_is_ended(process: RenderProcess) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    began = monotonic()
    assert process.ask(request(endless), 0.3) is None
    assert monotonic() - began < 4
    assert not is_there(process._process.pid)


def test_one_that_nobody_asks_is_ended() -> None:
    process = RenderProcess()
    assert is_there(process._process.pid)
    # Ctrl-C in a terminal does not reach it.
    assert os.getpgid(process._process.pid) != os.getpgid(0)
    process.close()
    assert not is_there(process._process.pid)


def test_a_template_is_rendered_by_the_one_that_is_given(process: RenderProcess) -> None:
    template = ChatTemplate(Path("t"), "{{ messages[0].content }}", {})
    assert template.render([{"role": "user", "content": "x"}], process=process) == "x"
    assert not is_there(process._process.pid)


def test_no_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/none/python")
    with pytest.raises(C4nError, match="no Python to render a chat template with: /none/python"):
        RenderProcess()


def test_the_next_one_is_started_once_and_taken_once() -> None:
    following = NextProcess()
    following.prepare()
    first = following._process
    following.prepare()
    assert following._process is first
    taken = following.take()
    assert taken is first
    other = following.take()  # none was prepared
    assert other is not taken
    for process in (taken, other):
        process.close()


def test_one_that_is_not_taken_is_ended() -> None:
    following = NextProcess()
    following.close()
    following.prepare()
    assert following._process is not None
    pid = following._process._process.pid
    following.close()
    assert not is_there(pid)
