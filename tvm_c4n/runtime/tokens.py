"""Token ids that a kernel may use as an index: integers within the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError

Ids = Sequence[int] | NDArray[np.integer[Any]]


def check_token(token: Any, vocab: int) -> int:
    """Return a token as an int.

    Parameters
    ----------
    token : int or numpy integer
    vocab : int
        Number of tokens: ids are 0 to ``vocab - 1``.

    Raises
    ------
    C4nError
        Another kind of value (a bool, a float, a string, a list), or outside the vocabulary.
    """
    if isinstance(token, bool) or not isinstance(token, int | np.integer):
        raise C4nError(f"token {_shown(token)} is no integer: give ids from the model's tokenizer")
    if not 0 <= token < vocab:
        raise C4nError(f"token {_shown(int(token))} is outside the vocabulary of {vocab}")
    return int(token)


def check_tokens(ids: Ids, vocab: int) -> NDArray[np.int32]:
    """Return tokens as an array ``(n,)`` int32, C-contiguous, of at least one.

    Raises
    ------
    C4nError
        No tokens, more than one dimension, or one that `check_token` refuses.
    """
    try:
        count = len(ids)
    except TypeError:
        raise C4nError(f"tokens are {_shown(ids)}: give a list of ids") from None
    if count == 0:
        raise C4nError("no tokens to read: the text is empty")
    if isinstance(ids, str | bytes):
        raise C4nError("tokens are a text: give the ids that the model's tokenizer makes of it")
    if not isinstance(ids, np.ndarray):
        return np.array([check_token(token, vocab) for token in ids], np.int32)
    if ids.ndim != 1:
        raise C4nError(f"tokens have shape {list(ids.shape)}: one text at a time, so give [n]")
    if not np.issubdtype(ids.dtype, np.integer):
        raise C4nError(f"tokens are {ids.dtype} numbers: give integers")
    for token in (ids.min(), ids.max()):
        check_token(token, vocab)
    return np.ascontiguousarray(ids, np.int32)


def check_room(read: int, new: int, context: int | None) -> int:
    """Return how many tokens a text has with `new` more.

    Parameters
    ----------
    read, new : int
    context : int, optional
        Tokens of the longest text, None without a limit.

    Raises
    ------
    C4nError
        They are more than the longest text has.
    """
    total = read + new
    if context is not None and total > context:
        raise C4nError(f"the text has {total} tokens: this model reads {context} at most")
    return total


def _shown(value: object) -> str:
    """Quote a value, cut short."""
    text = ascii(value) if not isinstance(value, int) or value < 1 << 64 else "of 2^64 or more"
    return text if len(text) <= 40 else text[:40] + "..."
