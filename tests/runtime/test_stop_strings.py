"""A text stops before the first stop string, wherever its pieces are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_c4n.runtime.stop_strings import StopStrings


@given(
    st.lists(st.text("abc", max_size=4), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_the_text_is_cut_at_the_first_one_whatever_the_pieces(
    pieces: list[str], strings: list[str]
) -> None:
    stop = StopStrings(strings)
    shown = []
    for piece in pieces:
        shown.append(stop.put(piece))
        # What was shown once is never taken back, and no stop string is in it.
        assert not any(string in "".join(shown) for string in strings)
    whole = "".join(pieces)
    places = [whole.index(string) for string in strings if string in whole]
    if places:
        # Seen as soon as it is there: a longer one that began earlier was not complete by then.
        assert stop.found in strings
        assert whole.startswith("".join(shown) + str(stop.found))
        assert stop.put("c") == stop.end() == ""
    else:
        assert stop.found is None
        assert "".join(shown) + stop.end() == whole


@pytest.mark.parametrize(
    ("pieces", "shown", "found"),
    [
        (["one ", "Us", "er", ": two"], ["one ", "", "", ""], "User:"),
        (["one Us", "ual"], ["one ", "Usual"], None),
        (["aUser:b\n\n"], ["a"], "User:"),
        (["a\n", "\nb"], ["a", ""], "\n\n"),
        (["a\n", "b"], ["a", "\nb"], None),
    ],
)
def test_what_may_be_its_beginning_waits(
    pieces: list[str], shown: list[str], found: str | None
) -> None:
    stop = StopStrings(["User:", "\n\n"])
    assert [stop.put(piece) for piece in pieces] == shown
    assert stop.found == found


def test_what_waits_is_shown_when_the_text_is_over() -> None:
    stop = StopStrings(["User:"])
    assert stop.put("a Use") == "a "
    assert stop.end() == "Use"
    assert stop.end() == ""
