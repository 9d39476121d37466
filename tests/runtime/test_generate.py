import numpy as np
import pytest

from tvm_c4n.assets import ROOT
from tvm_c4n.errors import C4nError
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.runtime.generate import Stats, generate, generate_tokens
from tvm_c4n.runtime.sampling import SamplingParams


class Counter:
    """A model whose next token is the sum of what it has read, modulo its vocabulary."""

    tokenizer = load_tokenizer(ROOT / "mamba-19m")

    def __init__(self, vocab=50):
        self.vocab, self.total, self.calls = vocab, 99, []

    def reset(self):
        self.calls.append("reset")
        self.total = 0

    def prefill(self, ids):
        self.calls.append(("prefill", len(ids)))
        self.total += sum(ids)
        return self.logits()

    def step(self, token):
        self.calls.append(("step", token))
        self.total += token
        return self.logits()

    def logits(self):
        logits = np.zeros(self.vocab)
        logits[self.total % self.vocab] = 5.0
        return logits


def test_greedy_follows_the_model_from_a_fresh_state():
    model = Counter()
    assert list(generate_tokens(model, [1, 2], 5)) == [3, 6, 12, 24, 48]
    assert list(generate_tokens(model, [1, 2], 5)) == [3, 6, 12, 24, 48]


def test_tokens_are_continued_as_they_are():
    model = Counter(8192)
    assert "".join(generate(model, [1, 2], 3)) == model.tokenizer.decode([3, 6, 12])
    assert "".join(generate(model, "", 2)) == model.tokenizer.decode([0])  # the second one ends it


def test_the_last_token_is_not_read():
    model = Counter()
    list(generate_tokens(model, [1, 2], 3))
    assert model.calls == ["reset", ("prefill", 2), ("step", 3), ("step", 6)]


def test_any_of_the_ends_ends_the_text_and_is_not_given():
    model = Counter(vocab=12)
    assert list(generate_tokens(model, [1, 2], 50, ends=(0,))) == [3, 6]  # then 12 % 12 = 0
    assert list(generate_tokens(Counter(12), [1, 2], 50, ends=(0, 6))) == [3]
    assert list(generate_tokens(Counter(12), [1, 2], 4)) == [3, 6, 0, 0]


def test_seeds_fix_the_text():
    def text(seed):
        return "".join(generate(Counter(8192), "a b", 12, temperature=4.0, seed=seed))

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_temperature_zero_ignores_the_seed():
    drawn = [
        list(generate_tokens(Counter(), [7], 6, params=SamplingParams(seed=seed)))
        for seed in (0, 1)
    ]
    assert drawn[0] == drawn[1]


def test_stats_count_the_prompt_and_the_steps():
    stats = Stats()
    list(generate(Counter(8192), "The river", 4, stats=stats))
    assert stats.prompt_tokens == 2 + 1  # and the token that starts a text
    assert stats.tokens == 4
    assert stats.prompt_rate == pytest.approx(3 / stats.prompt_secs)
    assert stats.decode_rate == pytest.approx(3 / stats.decode_secs)
    assert "generated: 4 tokens" in str(stats)


def test_one_token_has_no_decode_rate():
    stats = Stats()
    assert len(list(generate_tokens(Counter(), [1], 1, stats=stats))) == 1
    assert stats.decode_rate == 0
    assert str(stats).endswith("; generated: 1 token")


def test_a_prompt_that_was_kept_has_no_speed():
    stats = Stats(prompt_tokens=0, tokens=3, cached_tokens=9, decode_secs=2.0)
    assert str(stats) == "prompt: 0 tokens after 9 kept; generated: 3 tokens, 1.0 tokens/s"


@pytest.mark.parametrize("limit", [0, -3])
def test_asking_for_no_tokens_is_an_error(limit):
    with pytest.raises(C4nError, match=r"cannot generate (0|-3) tokens; use 1 or more"):
        next(generate_tokens(Counter(), [1], limit))


def test_a_text_stops_before_a_stop_string_and_is_read_no_further():
    whole = "".join(generate(Counter(8192), "The river", 12))
    stop = whole[3:6]
    model = Counter(8192)
    found = "".join(generate(model, "The river", 12, stop=[stop]))
    assert found == whole[: whole.index(stop)]
    assert len(model.calls) < 12


def test_a_bad_parameter_is_refused_before_the_model_reads():
    model = Counter()
    with pytest.raises(C4nError, match="top_p is 2; use 0 to 1"):
        next(generate(model, [1], 3, top_p=2))
    assert model.calls == []
