"""Find documents that hold passages of evaluation texts, by the word n-grams that they share.

13 words as in GPT-3 (Brown et al., 2020, appendix C). A quotation or a set phrase is no passage:
`Passages.PASSAGE` n-grams, which is 32 words in a row, make one.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.model.text import read_documents

LENGTH = 13
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def ngrams(text: str) -> NDArray[np.uint64]:
    """Hashes of the word n-grams of a text; case and punctuation do not count."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    if len(words) < LENGTH:
        return np.empty(0, np.uint64)
    hashed = np.fromiter((zlib.crc32(w.encode()) for w in words), np.uint64, len(words))
    count = len(words) - LENGTH + 1
    found = np.zeros(count, np.uint64)
    for place in range(LENGTH):
        found = found * _FACTOR + hashed[place : place + count]
    return found


def evaluation_texts(path: Path) -> Iterator[str]:
    """Documents of a text file, or the items of a task file with each of their options."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if path.suffix != ".jsonl" or "options" not in json.loads(first):
        yield from read_documents(path)
        return
    for line in path.read_text(encoding="utf-8").strip("\n").split("\n"):
        item = json.loads(line)
        contexts, options = item["context"], item["options"]
        each = [contexts] * len(options) if isinstance(contexts, str) else contexts
        yield from map("".join, zip(each, options, strict=True))


class Passages:
    """The n-grams of texts that training must not have seen."""

    PASSAGE = 20

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = np.unique(np.concatenate([ngrams(text) for text in texts]))

    def in_text(self, text: str) -> bool:
        """Whether a text holds a passage of theirs."""
        mine = np.unique(ngrams(text))
        at = np.searchsorted(self._known, mine).clip(max=len(self._known) - 1)
        return int((self._known[at] == mine).sum()) >= self.PASSAGE
