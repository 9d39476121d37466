"""Where a text stops: before the first of some strings, which may begin in any token."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes a text on, piece by piece, up to a stop string.

    The end of a piece that may be the beginning of a stop string waits for what follows.

    Parameters
    ----------
    strings : sequence of str
        None of them empty.

    Attributes
    ----------
    found : str or None
        The string that the text stopped at.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._waiting = ""
        self.found: str | None = None

    def put(self, piece: str) -> str:
        """Add a piece; returns what is surely in front of every stop string."""
        if self.found is not None:
            return ""
        text = self._waiting + piece
        places = [(text.find(string), string) for string in self._strings if string in text]
        if places:
            # Of two that begin at one place the longer one is named; the text is the same.
            at, self.found = min(places, key=lambda place: (place[0], -len(place[1])))
            self._waiting = ""
            return text[:at]
        held = max((_overlap(text, string) for string in self._strings), default=0)
        self._waiting = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """Return what still waits: the text is over, so it was no stop string."""
        text, self._waiting = self._waiting, ""
        return text


def _overlap(text: str, string: str) -> int:
    """Return the length of the longest end of a text that a string begins with."""
    most = min(len(text), len(string) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(string[:n])), 0)
