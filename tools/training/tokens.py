"""Train the tokenizer and encode the corpus to uint16 token files; called by corpus.py."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

EOT = "<|endoftext|>"


def iter_text(path):
    with Path(path).open() as f:
        for line in f:
            yield json.loads(line)["text"]


def make_tokens(args):
    out = Path(args.out)
    tok_path = out / "tokenizer.json"
    if not tok_path.exists():
        tok = Tokenizer(models.BPE())
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tok.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=args.vocab,
            special_tokens=[EOT],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )

        def sample(budget=args.sample_mb * 1e6):
            for text in iter_text(out / "train.jsonl"):
                piece = text[:150000]
                budget -= len(piece)
                yield piece
                if budget < 0:
                    return

        tok.train_from_iterator(sample(), trainer)
        # Texts start as documents did in training: behind the separator.
        start = [(EOT, tok.token_to_id(EOT))]
        tok.post_processor = processors.TemplateProcessing(f"{EOT} $A", special_tokens=start)
        tok.save(str(tok_path))
    tok = Tokenizer.from_file(str(tok_path))
    eot = tok.token_to_id(EOT)

    def encode(split, outs):
        for part in outs:
            part.write_bytes(b"")
        counts, batch, size = [0] * len(outs), [], 0

        def flush():
            for enc in tok.encode_batch_fast(batch, add_special_tokens=False):
                i = counts.index(min(counts))  # a whole text block goes to the emptiest part
                with outs[i].open("ab") as file:
                    file.write(np.asarray([*enc.ids, eot], dtype=np.uint16).tobytes())
                counts[i] += len(enc.ids) + 1

        for text in iter_text(out / f"{split}.jsonl"):
            batch.append(text)
            size += len(text)
            if size > 16e6:
                flush()
                batch, size = [], 0
        flush()
        print(split, counts, sum(counts), "tokens", flush=True)
        return sum(counts)

    n = {s: encode(s, [out / f"{s}.bin"]) for s in ("valid", "test")}
    n["train"] = encode("train", [out / f"train{i}.bin" for i in range(args.parts)])
    (out / "tokens.json").write_text(json.dumps(n))
