"""Lines are broken between words, whatever the pieces of the text."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_c4n.cli.word_wrap import WordWrap, cells


def wrapped(pieces: list[str], width: int) -> str:
    wrap = WordWrap(width)
    return "".join([*(wrap.put(piece) for piece in pieces), wrap.end()])


@given(st.lists(st.text("ab ", max_size=7)), st.integers(8, 20))
def test_one_line_is_wrapped_as_by_textwrap(pieces: list[str], width: int) -> None:
    text = " ".join("".join(pieces).split())  # textwrap has its own mind about rows of spaces
    if any(len(word) >= width for word in text.split()):
        return
    assert wrapped([text], width) == "\n".join(textwrap.wrap(text, width))


@given(st.lists(st.text("ab \n", max_size=7)), st.integers(1, 9))
def test_nothing_but_spaces_is_lost_and_the_pieces_do_not_matter(
    pieces: list[str], width: int
) -> None:
    whole = "".join(pieces)
    found = wrapped(pieces, width)
    assert found == wrapped([whole], width) == wrapped(list(whole), width)
    assert found.split() == whole.split() or any(len(w) >= width for w in whole.split())
    assert "".join(found.split()) == "".join(whole.split())


def test_words_too_long_for_a_line_are_cut() -> None:
    assert wrapped(["ab cdefghij k"], 4) == "ab\ncdef\nghij\nk"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0)])
def test_cells_are_those_of_a_terminal(text: str, width: int) -> None:
    assert cells(text) == width


def test_wide_characters_count_twice() -> None:
    assert wrapped(["漢字 漢字 漢字"], 10) == "漢字 漢字\n漢字"
