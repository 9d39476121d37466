"""Breaks lines between words while a text comes in pieces, for terminals."""

from __future__ import annotations

import unicodedata

# Cells that a character takes: two for those of East Asia, none for what is put upon others.
_WIDE = ("W", "F")


class WordWrap:
    """Passes a text on so that no word is cut at the end of a line.

    The last word waits until its end is there.

    Parameters
    ----------
    width : int
        Cells of a line.
    """

    def __init__(self, width: int) -> None:
        self._width = max(width, 1)
        self._column = 0
        # Spaces that have not been shown, and the word behind them.
        self._spaces, self._word = "", ""

    def put(self, piece: str) -> str:
        """Add a piece; returns what can be shown now."""
        shown = ""
        for character in piece:
            if not character.isspace():
                self._word += character
                if cells(self._word) >= self._width:  # no line is long enough for it
                    shown += self._placed()
                continue
            shown += self._placed()
            if character == "\n":
                shown, self._spaces, self._column = shown + "\n", "", 0
            else:
                self._spaces += character
        return shown

    def end(self) -> str:
        """Return what still waits."""
        shown, self._spaces = self._placed(), ""
        return shown

    def _placed(self) -> str:
        """Return the word with the spaces in front of it, or on a line of its own."""
        if not self._word:
            return ""
        text = self._spaces + self._word
        if self._column and self._column + cells(text) > self._width:
            text, self._column = "\n" + self._word, cells(self._word)
        else:
            self._column += cells(text)
        self._spaces = self._word = ""
        return text


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in _WIDE else 1
        for c in text
    )
