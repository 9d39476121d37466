"""Texts and tokens: which files are read, and where documents end.

A text file may hold several documents, separated by a line `SEPARATOR`. A tokenised text is one
row of tokens in which the model's separator token stands between documents, as in training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.json_reading import parse_json
from tvm_c4n.checkpoint.reading import MAX_TEXT_BYTES, read_text, stand_in
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.tokenizer import TextTokenizer

# A line of text files, whatever token it is that ends a text of the model that reads them.
SEPARATOR = "<|endoftext|>"


def read_documents(path: str | Path) -> list[str]:
    """Read the documents of a text file.

    Parameters
    ----------
    path : path
        ``.jsonl``: one object per line whose ``"text"`` is a document. Anything else: UTF-8 text in
        which a line `SEPARATOR` ends a document; of the line ends around it, one each is dropped.

    Returns
    -------
    list of str
        Without empty documents.

    Raises
    ------
    RecipeError
        Missing, another file in its place, not UTF-8, a line that is not such an object, or no
        document at all.
    """
    path = Path(path)
    text = read_text(path, MAX_TEXT_BYTES, "give a text file", RecipeError)
    if found := stand_in(text[:64].encode()):
        raise RecipeError(f"{path}: {found}")
    if path.suffix == ".jsonl":
        documents = [_text_of(path, number, line) for number, line in _lines(text)]
    else:
        # Line ends at both ends let a separator stand on the first or the last line.
        documents = f"\n{text}\n".split(f"\n{SEPARATOR}\n")
        documents[0] = documents[0][1:]
        documents[-1] = documents[-1][:-1]
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise RecipeError(f"{path}: holds no text; give a text file")
    return documents


def _lines(text: str) -> list[tuple[int, str]]:
    # Not splitlines: JSON strings may hold other Unicode line ends unescaped.
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def _text_of(path: Path, number: int, line: str) -> str:
    wanted = 'each line must be an object with a "text"'
    value = parse_json(line, f"{path}: line {number}", wanted, RecipeError)
    if not isinstance(value.get("text"), str):
        raise RecipeError(f'{path}: line {number} is not a JSON object with a "text"')
    return str(value["text"])


def load_text_ids(path: str | Path, tokenizer: TextTokenizer) -> NDArray[np.int64]:
    """Tokenise a file: its documents in order, each followed by the separator token.

    Parameters
    ----------
    path : path
        See `read_documents`.
    tokenizer : TextTokenizer

    Returns
    -------
    (t,) int64

    Raises
    ------
    RecipeError
        See `read_documents`.
    """
    rows = tokenizer.encode_batch(read_documents(path))
    return np.concatenate([np.array([*ids, tokenizer.separator], dtype=np.int64) for ids in rows])
