"""Texts and tokens: which files are read, where documents end, what a text starts with.

A text file may hold several documents, separated by a line `SEPARATOR`. A tokenised text is one
row of tokens in which the separator token stands between documents, as in training.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tvm_c4n.errors import CheckpointError, RecipeError

SEPARATOR = "<|endoftext|>"
TOKENIZER = "tokenizer.json"


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Read ``tokenizer.json`` of a model folder.

    Raises
    ------
    CheckpointError
        Missing or damaged.
    """
    path = Path(folder) / TOKENIZER
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; copy the model's {TOKENIZER} there")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from None


def separator_id(tokenizer: Tokenizer, separator: str = SEPARATOR) -> int:
    """Return the id of the separator token, which starts every text; 0 for the models known here.

    Raises
    ------
    CheckpointError
        The tokenizer has no such token.
    """
    token = tokenizer.token_to_id(separator)
    if token is None:
        raise CheckpointError(f"the tokenizer has no token {separator}; texts could not be started")
    return int(token)


def read_documents(path: str | Path, separator: str = SEPARATOR) -> list[str]:
    """Read the documents of a text file.

    Parameters
    ----------
    path : path
        ``.jsonl``: one object per line whose ``"text"`` is a document. Anything else: UTF-8 text in
        which a line ``separator`` ends a document; of the line ends around it, one each is dropped.

    Returns
    -------
    list of str
        Without empty documents.

    Raises
    ------
    RecipeError
        Missing, not UTF-8, a line that is not such an object, or no document at all.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text") from None
    if path.suffix == ".jsonl":
        documents = [_text_of(path, number, line) for number, line in _lines(text)]
    else:
        # Line ends at both ends let a separator stand on the first or the last line.
        documents = f"\n{text}\n".split(f"\n{separator}\n")
        documents[0] = documents[0][1:]
        documents[-1] = documents[-1][:-1]
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise RecipeError(f"{path}: holds no text")
    return documents


def _lines(text: str) -> list[tuple[int, str]]:
    # Not splitlines: JSON strings may hold other Unicode line ends unescaped.
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def _text_of(path: Path, number: int, line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise RecipeError(f'{path}: line {number} is not a JSON object with a "text"')
    return str(value["text"])


def load_text_ids(
    path: str | Path, tokenizer: Tokenizer, separator: str = SEPARATOR
) -> NDArray[np.int64]:
    """Tokenise a file: its documents in order, each followed by the separator token.

    Parameters
    ----------
    path : path
        See `read_documents`.
    tokenizer : tokenizers.Tokenizer
    separator : str
        Both the line that ends a document in a text file and the token that does so in the ids.

    Returns
    -------
    (t,) int64

    Raises
    ------
    RecipeError
        See `read_documents`.
    CheckpointError
        The tokenizer does not know the separator.
    """
    stop = separator_id(tokenizer, separator)
    documents = read_documents(path, separator)
    encoded = tokenizer.encode_batch(documents, add_special_tokens=False)
    return np.concatenate([np.array([*one.ids, stop], dtype=np.int64) for one in encoded])
