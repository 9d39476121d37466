"""Text to heal a model on: a corpus as `corpus.py text` writes it, less what evaluation texts hold.

    healing_text.py corpus/train.jsonl --without valid.txt --without lambada.jsonl --out mixture

The corpus has the kinds of text in the shares in which the dense model was trained on them: books
and manuals. Documents that hold a passage of a text given with ``--without`` are left out, see
`shared_text`; tasks (.jsonl with options) count with each option. Writes ``OUT.u16.bz2``, documents
in random order, up to ``--count`` tokens, and says how many were left out of each kind.
"""

import argparse
import bz2
import json
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from shared_text import Passages, evaluation_texts

from tvm_c4n.assets import resolve
from tvm_c4n.model.tokenizer import load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--without", type=Path, action="append", default=[], required=True)
    parser.add_argument("--model", default="mamba-19m", help="whose tokenizer to use")
    parser.add_argument("--count", type=int, default=90_000_000, help="tokens at most")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    tokenizer = load_tokenizer(resolve(args.model))
    unseen = Passages(chain.from_iterable(map(evaluation_texts, args.without)))
    lines = args.corpus.read_text(encoding="utf-8").strip("\n").split("\n")
    kept, left_out, tokens = Counter(), Counter(), Counter()
    parts = []
    for index in np.random.default_rng(0).permutation(len(lines)):
        document = json.loads(lines[index])
        text, kind = document["text"], document["genre"]
        if unseen.in_text(text):
            left_out[kind] += 1
            continue
        parts.append(np.asarray([*tokenizer.encode(text), tokenizer.separator], "<u2"))
        kept[kind] += 1
        tokens[kind] += len(parts[-1])
        if tokens.total() >= args.count:
            break
    Path(f"{args.out}.u16.bz2").write_bytes(bz2.compress(np.concatenate(parts).tobytes()))
    for kind in kept | left_out:
        print(f"{kind}: {kept[kind]} documents, {tokens[kind]} tokens, {left_out[kind]} left out")


if __name__ == "__main__":
    main()
