"""What float16 states cost: perplexity, token by token, beside float32 states.

    python tools/state_dtype.py MODEL [--states scan,kv] [--tokens 4096] [--windows 8]

Each token rounds the states once, as in generation; `tvm-c4n eval` reads chunks of tokens, which
rounds them less often. Windows are those of the bundled text, each from its start.
"""

import argparse
import itertools
from math import exp
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tvm_c4n import load
from tvm_c4n.assets import VALID_TEXT
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer

DTYPES = ("float32", "float16")


def losses(engine, ids):
    """Return -log p of each token but the first, in nats."""
    engine.reset()
    found = []
    for token, following in itertools.pairwise(ids):
        logits = np.asarray(engine.step(int(token)), np.float64)
        top = logits.max()
        found.append(top + np.log(np.exp(logits - top).sum()) - logits[following])
    return np.array(found)


def main():
    ap = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    ap.add_argument("model", help="model folder, or the name of an embedded model")
    ap.add_argument("--states", default="scan,kv", help="which of them are float16")
    ap.add_argument("--tokens", type=int, default=4096, help="of a window")
    ap.add_argument("--windows", type=int, default=8)
    args = ap.parse_args()
    checkpoint = open_checkpoint(args.model)
    tokenizer = load_tokenizer(checkpoint.path)
    ids = load_text_ids(VALID_TEXT, tokenizer)
    piece = args.tokens - 1
    rows = ids[: len(ids) // piece * piece].reshape(-1, piece)
    rows = rows[:: max(1, len(rows) // args.windows)][: args.windows]
    found = {}
    with TemporaryDirectory() as folder:
        for dtype in DTYPES:
            out = Path(folder) / dtype
            compile_model(
                args.model,
                out,
                scan_dtype=dtype if "scan" in args.states else None,
                kv_dtype=dtype if "kv" in args.states else None,
            )
            engine = load(out)
            parts = [losses(engine, [tokenizer.start, *row]) for row in rows]
            found[dtype] = np.stack(parts)
            print(f"{dtype}: PPL {exp(found[dtype].mean()):.4f}", flush=True)
    change = found["float16"] - found["float32"]
    last = change[:, -args.tokens // 4 :]
    error = change.mean(1).std(ddof=1) / len(rows) ** 0.5
    print(f"ratio: {exp(change.mean()):.5f}, standard error {error:.5f}")
    print(f"ratio over the last quarter of the windows: {exp(last.mean()):.5f}")


if __name__ == "__main__":
    main()
