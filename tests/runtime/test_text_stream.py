import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tvm_c4n.assets import ROOT
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer
from tvm_c4n.runtime.text_stream import TextStream

FOLDER = ROOT / "mamba-19m"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(FOLDER)


def stream(tokenizer, ids):
    """The pieces of a stream, the end included."""
    text = TextStream(tokenizer)
    return [text.put(token) for token in ids] + [text.end()]


# Surrogates have no UTF-8; the tokenizer's special token has no text.
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=150)
def test_the_pieces_of_a_stream_are_the_whole_text(text):
    tokenizer = load_tokenizer(FOLDER)
    ids = tokenizer.encode(text)
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_of_several_tokens_appears_when_it_is_complete(tokenizer):
    ids = tokenizer.encode("🦀")
    assert len(ids) > 1  # else this test tests nothing
    assert stream(tokenizer, ids) == [*[""] * (len(ids) - 1), "🦀", ""]


def test_half_a_character_at_the_end_is_shown_as_replacement(tokenizer):
    ids = tokenizer.encode("a🦀")
    assert "".join(stream(tokenizer, ids[:-1])).startswith("a\ufffd")


def test_garbage_bytes_do_not_hold_the_text_back(tokenizer):
    token = tokenizer.encode("🦀")[0]  # the first byte of a character, again and again
    pieces = stream(tokenizer, [token] * 8)
    assert any(pieces[:-1])


def test_spaces_survive_a_tokenizer_that_drops_the_first():
    raw = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "▁a": 1, "▁b": 2}, unk_token="▁a"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    assert "".join(stream(TextTokenizer(raw, 0, (0,)), [1, 2, 1])) == "a b a"
