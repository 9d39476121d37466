"""Texts whose tokens are known: a chat's next turn begins with what the model has said.

The same text has several rows of tokens, and a model does not always choose the one that the
tokenizer would. Tokenised anew, the text of an answer may be another one to the model than what it
has read, and its kept state would be of no use.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

# Texts, and characters of all of them together.
_MOST = 256
_MOST_CHARACTERS = 1 << 22


class KnownTexts:
    """The last texts of chats with their answers, of one model; threads share it."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def remember(self, text: str, ids: list[int]) -> None:
        """Note the tokens of a text; those that were noted first are forgotten first."""
        with self._lock:
            self._forget(text)
            self._known[text] = ids
            self._characters += len(text)
            while len(self._known) > _MOST or self._characters > _MOST_CHARACTERS:
                self._forget(next(iter(self._known)))

    def tokens(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """Return the tokens of a text: of what is known of it as they are, of the rest by `encode`.

        Parameters
        ----------
        text : str
        encode : callable
            Tokenises a piece of text.
        """
        with self._lock:
            begun = max((one for one in self._known if text.startswith(one)), key=len, default="")
            ids = self._known.get(begun, [])
        return [*ids, *encode(text[len(begun) :])]

    def _forget(self, text: str) -> None:
        if self._known.pop(text, None) is not None:
            self._characters -= len(text)
