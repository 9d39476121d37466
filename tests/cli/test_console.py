"""Tables on stdout, progress on stderr."""

import pytest

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
