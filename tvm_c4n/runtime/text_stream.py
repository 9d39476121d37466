"""Tokens to text as it grows."""

from __future__ import annotations

from tvm_c4n.model.tokenizer import TextTokenizer

# A character of UTF-8 has at most 4 bytes, so at most 4 tokens of a byte-level tokenizer.
_MAX_TOKENS_OF_A_CHARACTER = 4
_REPLACEMENT = "\ufffd"


class TextStream:
    """Turns tokens into text one by one, so that the parts together are the whole text.

    A token may hold a part of a character: its text waits until the character is complete.

    Parameters
    ----------
    tokenizer : TextTokenizer
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        # Tokens that were printed stay in front of those that wait: some tokenizers drop the
        # space in front of the first word that they decode.
        self._before: list[int] = []
        self._waiting: list[int] = []

    def put(self, token: int) -> str:
        """Add a token; returns the text that is complete now, often that of this token."""
        self._waiting.append(token)
        text = self._text()
        cut_off = text.endswith(_REPLACEMENT)
        if cut_off and len(self._waiting) < _MAX_TOKENS_OF_A_CHARACTER:
            return ""
        self._before, self._waiting = self._waiting, []
        return text

    def end(self) -> str:
        """Return the text that still waits: a broken character, as U+FFFD."""
        text = self._text() if self._waiting else ""
        self._waiting = []
        return text

    def _text(self) -> str:
        before = self._tokenizer.decode(self._before)
        return self._tokenizer.decode(self._before + self._waiting)[len(before) :]
