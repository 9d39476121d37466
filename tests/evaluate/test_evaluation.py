"""Evaluation of texts and bits per byte, on a model that is a formula."""

from math import log2

import numpy as np
import pytest

from tvm_c4n.assets import ROOT
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.evaluate import Perplexity, evaluate_text
from tvm_c4n.evaluate.evaluation import bits_per_byte
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer

FOLDER = ROOT / "mamba-19m"


class Uniform:
    """Every token is as likely as any other; remembers what it was asked."""

    tokenizer = load_tokenizer(FOLDER)
    config = describe_model(open_checkpoint(FOLDER).config)
    vocab = 8192

    def __init__(self):
        self.read, self.fresh = [], False

    def reset(self):
        self.fresh = True

    def score(self, ids):
        assert self.fresh, "a window must start from a fresh state"
        self.fresh = False
        self.read.append(len(ids))
        return np.zeros((len(ids), self.vocab), np.float32)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The river was wide.\n<|endoftext|>\nÜber the bridge 🦀 they went.\n")
    return path


def test_a_uniform_model_has_the_vocabulary_as_perplexity(text):
    tokenizer = load_tokenizer(FOLDER)
    ids = load_text_ids(text, tokenizer)
    seen = []
    found = evaluate_text(
        Uniform(), text, window=len(ids), progress=lambda *call: seen.append(call)
    )
    assert found.perplexity.value == pytest.approx(8192)
    documents = ["The river was wide.", "Über the bridge 🦀 they went.\n"]
    size_bytes = sum(len(document.encode()) for document in documents)
    ends = 2
    assert found.bits_per_byte == pytest.approx(len(ids) * log2(8192) / (size_bytes + ends))
    assert seen == [("windows", 1, 1)]


def test_windows_are_scored_alone_and_their_bytes_counted(text):
    tokenizer = load_tokenizer(FOLDER)
    ids = load_text_ids(text, tokenizer)
    engine = Uniform()
    found = evaluate_text(engine, text, window=4, max_windows=2)
    assert engine.read == [4, 4]
    assert found.perplexity.tokens == 8
    last = len(ids) // 4 * 4 - 4
    windows = [ids[:4], ids[last : last + 4]]
    shown = sum(len(tokenizer.decode([int(i) for i in w]).encode()) for w in windows)
    ends = sum(int((w == 0).sum()) for w in windows)
    assert found.bits_per_byte == pytest.approx(8 * 13 / (shown + ends))


def test_halving_the_loss_halves_the_bits():
    tokenizer = load_tokenizer(FOLDER)
    ids = np.array(tokenizer.encode("They went over the bridge."))
    bits = [
        bits_per_byte(Perplexity(value, 0.0, len(ids), 1), ids, len(ids), None, tokenizer)
        for value in (16.0, 256.0)
    ]
    assert bits[1] == pytest.approx(2 * bits[0])
