"""Training text as tokens, cut into windows whose order depends on the seed and the step alone."""

from __future__ import annotations

import bz2
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.reading import MAX_TEXT_BYTES, read_bytes
from tvm_c4n.errors import RecipeError
from tvm_c4n.healing.settings import HealSettings
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import TextTokenizer

RAW = (".bin", ".u16")
# Token ids of text are packed to a third or so; what unpacks to more than this was made to fill
# the memory.
_MOST_UNPACKED, _UNPACKED_AT_LEAST = 64, 1 << 20


def read_tokens(paths: Iterable[str | Path], tokenizer: TextTokenizer) -> NDArray[np.uint16]:
    """Read files of text or of tokens, one after the other.

    Parameters
    ----------
    paths : list of path
        ``.u16`` or ``.bin``: token ids as little-endian uint16, documents ending with the separator
        token; ``.bz2`` after it: compressed. Anything else is text, see
        `tvm_c4n.model.text.read_documents`.
    tokenizer : TextTokenizer
        The model's.

    Returns
    -------
    (t,) uint16

    Raises
    ------
    RecipeError
        A file that cannot be read, is damaged, or has tokens beyond the vocabulary.
    """
    vocab = tokenizer.vocab_size
    if vocab > 1 << 16:
        raise RecipeError(f"a vocabulary of {vocab} does not fit 16 bits; healing does not take it")
    parts = [_read(Path(path), tokenizer) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if len(part) and int(part.max()) >= vocab:
            raise RecipeError(f"{path}: token {part.max()} is beyond the vocabulary of {vocab}")
    return np.concatenate(parts) if parts else np.empty(0, np.uint16)


def _read(path: Path, tokenizer: TextTokenizer) -> NDArray[np.uint16]:
    suffixes = path.suffixes
    packed = suffixes[-1:] == [".bz2"]
    if (suffixes[:-1] if packed else suffixes)[-1:] not in ([s] for s in RAW):
        return load_text_ids(path, tokenizer).astype(np.uint16)
    data = read_bytes(path, MAX_TEXT_BYTES, "give token ids", RecipeError)
    if packed:
        data = _unpack(path, data)
    if len(data) % 2:
        raise RecipeError(f"{path}: an odd number of bytes; it should hold 16-bit token ids")
    return np.frombuffer(data, "<u2").astype(np.uint16)


def _unpack(path: Path, data: bytes) -> bytes:
    limit = min(MAX_TEXT_BYTES, _UNPACKED_AT_LEAST + _MOST_UNPACKED * len(data))
    try:
        with bz2.open(BytesIO(data)) as stream:
            unpacked = stream.read(limit + 1)
    except (OSError, EOFError) as error:
        raise RecipeError(f"{path}: not bzip2 or cut off ({error}); pack it again") from None
    if len(unpacked) > limit:
        raise RecipeError(f"{path}: unpacks to more than {limit} bytes; give it unpacked")
    return unpacked


def cut_windows(
    tokens: NDArray[np.uint16], tokenizer: TextTokenizer, window: int
) -> NDArray[np.uint16]:
    """Cut a text into windows that do not overlap, each behind the token that starts a text.

    Parameters
    ----------
    tokens : (t,) uint16
        What is left over at the end is dropped.
    tokenizer : TextTokenizer
    window : int
        Tokens per window, the starting one included.

    Returns
    -------
    (windows, window) uint16
    """
    piece = window - 1
    count = len(tokens) // piece
    start = np.full((count, 1), tokenizer.start, np.uint16)
    return np.concatenate([start, tokens[: count * piece].reshape(count, piece)], axis=1)


class Windows:
    """The windows of a training text.

    Attributes
    ----------
    train, held_out : (windows, window) uint16
        The last ``held_out`` windows of the text are kept apart.

    Raises
    ------
    RecipeError
        The text is too short.
    """

    def __init__(
        self, tokens: NDArray[np.uint16], tokenizer: TextTokenizer, settings: HealSettings
    ) -> None:
        windows = cut_windows(tokens, tokenizer, settings.window)
        need = settings.held_out + settings.batch
        if len(windows) < need:
            raise RecipeError(
                f"the text has {len(tokens)} tokens, {len(windows)} windows of {settings.window}; "
                f"{need} are needed (batch and held_out): give more text or smaller settings"
            )
        self.train = windows[: -settings.held_out]
        self.held_out = windows[-settings.held_out :]
        self._batch, self._seed = settings.batch, settings.seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return which windows a step trains on: (batch,) rows of ``train``.

        A pass visits the windows in an order of its own; those that do not fill a batch are left
        out of it.
        """
        per_pass = len(self.train) // self._batch
        number, at = divmod(step, per_pass)
        if self._order[0] != number:
            generator = np.random.default_rng([self._seed, number])
            self._order = (number, generator.permutation(len(self.train)))
        return self._order[1][at * self._batch : (at + 1) * self._batch]
