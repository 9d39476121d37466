"""The text to continue: from an option, a file, or stdin."""

import io
import sys

import pytest

from tvm_c4n.cli.prompt import MAX_BYTES, read_prompt
from tvm_c4n.errors import C4nError


@pytest.fixture
def pipe(monkeypatch):
    """``pipe(content)``: what is piped in."""

    def put(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def test_an_option_is_taken_as_it_is(pipe):
    pipe(b"not this")
    assert read_prompt("a\n", None) == "a\n"
    assert read_prompt("", None) == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", ""), (b"w1 w2\n", "w1 w2"), (b"w1\r\n", "w1"), ("\u00fc\n\n".encode(), "\u00fc\n")],
)
def test_a_file_and_stdin_lose_their_last_line_end(pipe, tmp_path, content, text):
    pipe(content)
    assert read_prompt(None, None) == text
    pipe(content)
    assert read_prompt(None, tmp_path.joinpath("-").relative_to(tmp_path)) == text
    file = tmp_path / "prompt.txt"
    file.write_bytes(content)
    assert read_prompt(None, file) == text


def test_a_terminal_is_not_waited_for(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(b"typed later"))
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    assert read_prompt(None, None) == ""
    monkeypatch.setattr(sys, "stdin", None)
    assert read_prompt(None, None) == ""


def test_what_is_no_prompt_is_one_line(pipe, tmp_path):
    file = tmp_path / "prompt"
    for content, named in ((b"\xff", "not UTF-8 text"), (b"a" * (MAX_BYTES + 1), "16 MiB")):
        file.write_bytes(content)
        pipe(content)
        for given in (file, None):
            with pytest.raises(C4nError, match=named):
                read_prompt(None, given)
    with pytest.raises(C4nError, match="give one of them"):
        read_prompt("a", file)
    for wrong, named in ((tmp_path, "directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(C4nError, match=f"cannot be read: .*{named}"):
            read_prompt(None, wrong)
