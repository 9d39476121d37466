"""Tables on stdout, progress on stderr."""

import io
import re

import pytest
from rich.console import Console

from tvm_c4n.cli import console
from tvm_c4n.cli.console import ProgressBar, megabytes, on_interrupt, print_table, write_text
from tvm_c4n.errors import C4nError


def test_a_table_in_a_pipe_is_never_folded(capsys):
    path = "/a/path" * 15
    print_table("title", ["name", "t/s"], [[path, "1.5"], ["[b]", "10.25"]])
    captured = capsys.readouterr()
    assert captured.err == ""
    title, head, first, second = captured.out.splitlines()
    assert title == "title"
    assert first.split() == [path, "1.5"]
    assert second.split() == ["[b]", "10.25"]  # no markup
    assert len({len(line.rstrip()) for line in (head, first, second)}) == 1  # figures to the right


@pytest.mark.parametrize(("size", "text"), [(18_430_000, "18.43 MB"), (999, "0.00 MB")])
def test_sizes(size, text):
    assert megabytes(size) == text


def test_progress_is_silent_in_a_pipe_and_sentences_are_not(capsys):
    with ProgressBar("pruning") as bar:
        bar("layer 0", 1, 2)
        bar.notify("compiling [once]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "compiling [once]\n"


def test_an_error_in_the_middle_of_a_text_stands_on_its_own_line(capsys):
    def broken(count):
        yield from ["one"] * count
        raise C4nError("lost")

    with pytest.raises(C4nError):
        write_text("prompt ", broken(2))
    assert capsys.readouterr().out == "prompt oneone\n"
    with pytest.raises(C4nError):
        write_text("prompt ", broken(0))
    assert capsys.readouterr().out == ""
    write_text("prompt", [])
    assert capsys.readouterr().out == "prompt\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_was_interrupted_says_how_to_resume(capsys, error):
    with pytest.raises(error), on_interrupt(lambda: "the same command resumes"):
        raise error
    assert capsys.readouterr().err == "the same command resumes\n"
    with pytest.raises(C4nError), on_interrupt(lambda: "the same command resumes"):
        raise C4nError("other errors have lines of their own")
    assert capsys.readouterr().err == ""


def test_what_was_finished_before_does_not_make_the_rest_look_quick(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    now = [0.0]
    with ProgressBar("pruning") as bar:
        bar._bar.get_time = lambda: now[0]
        bar("loading", 0, 1)
        for layer in range(8):
            bar(f"layer {layer} was finished before", 10 * (layer + 1), 100)
            now[0] += 0.001
        for done in range(81, 86):
            now[0] += 2.0
            bar("layer 8", done, 100)
        assert bar._bar.tasks[0].time_remaining == 30


def test_progress_fits_a_line_and_says_how_much_is_left(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with ProgressBar("evaluating") as bar:
        for done in range(3):
            bar("a stage with a name that is much longer than there is room for", done, 1000)
            bar._bar.refresh()
        half = bar._bar.tasks[0].completed
        bar("the next stage", 0, 10)
        bar._bar.refresh()
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue()))
    assert half == 2
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert any("2/1000" in line and " left " in line for line in lines)
    assert not any("None" in line for line in lines)
    assert any("0/10 " in line and "the next stage" in line for line in lines)
