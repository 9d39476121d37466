"""Text to heal the default model on: other books, and its manuals.

    healing_text.py books --books txt:DIR --without valid.txt --without part1.u16.bz2 \
        --out fresh.u16.bz2
    healing_text.py manuals --tokens part0.u16.bz2 --tokens part1.u16.bz2 --out manuals.u16.bz2

``books`` takes a folder of books and draws some of them. A book is left out when it shares three or
more long sentences with a text that is to stay unseen (``--without``: text, or token ids of which
the last ``--last`` are meant), or a fifth of its sketched sentences with a book before it.
``manuals`` takes the short documents of a training text: in ours, those are the manuals' pages.
"""

import argparse
import bz2
import re
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from corpus import load_book

from tvm_c4n.assets import resolve
from tvm_c4n.healing.tokens import read_tokens
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer

SHARED = 3
DUPLICATE = 0.2


def sentences(text: str) -> set[str]:
    """Letters of all sentences with 40 or more of them."""
    keys = (re.sub(r"[^a-z]", "", s.lower()) for s in re.split(r"[.!?]", text))
    return {key for key in keys if len(key) >= 40}


def unseen(paths: list[Path], tokenizer: TextTokenizer, last: int) -> set[str]:
    """Sentences of the texts that no book may share."""
    found: set[str] = set()
    for path in paths:
        if ".u16" in path.suffixes:
            found |= sentences(tokenizer.decode(read_tokens([path], tokenizer)[-last:].tolist()))
        else:
            found |= sentences(path.read_text(encoding="utf-8"))
    return found


def books(args: argparse.Namespace, tokenizer: TextTokenizer) -> list[np.ndarray]:
    """Encode the books of a folder, then draw some until there are enough tokens."""
    forbidden = unseen(args.without, tokenizer, args.last)
    kind, folder = args.books.split(":", 1)
    jobs = [("books", kind, path) for path in sorted(Path(folder).rglob(f"*.{kind}"))]
    separator, seen, found = tokenizer.separator, set(), []
    with Pool(2) as pool:
        for _, path, text, marks in pool.imap(load_book, jobs, chunksize=4):
            if text is None or len(marks & seen) > DUPLICATE * max(len(marks), 1):
                continue
            if len(sentences(text) & forbidden) >= SHARED:
                print("left out:", path, flush=True)
                continue
            seen |= marks
            found.append(np.asarray([*tokenizer.encode(text), separator], np.uint16))
    drawn, count = [], 0
    for index in np.random.default_rng(0).permutation(len(found)):
        if count >= args.count:
            break
        drawn.append(found[index])
        count += len(found[index])
    return drawn


def manuals(args: argparse.Namespace, tokenizer: TextTokenizer) -> list[np.ndarray]:
    """Take the documents with fewer than `longest` tokens."""
    found = []
    for path in args.tokens:
        ids = read_tokens([path], tokenizer)
        ends = np.flatnonzero(ids == tokenizer.separator) + 1
        found += [part for part in np.split(ids, ends) if 1 < len(part) < args.longest]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("books", "manuals"))
    parser.add_argument("--model", default="mamba-19m", help="whose tokenizer to use")
    parser.add_argument("--books", metavar="KIND:DIR", help="kind: md or txt")
    parser.add_argument("--without", type=Path, action="append", default=[])
    parser.add_argument("--last", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=35_000_000, help="tokens to draw")
    parser.add_argument("--tokens", type=Path, action="append", default=[])
    parser.add_argument("--longest", type=int, default=15_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.step == "books" and not args.books:
        parser.error("books needs --books KIND:DIR")

    tokenizer = load_tokenizer(resolve(args.model))
    documents = (books if args.step == "books" else manuals)(args, tokenizer)
    tokens = np.concatenate(documents).astype("<u2")
    args.out.write_bytes(bz2.compress(tokens.tobytes()))
    print(len(documents), "documents,", len(tokens), "tokens")


if __name__ == "__main__":
    main()
