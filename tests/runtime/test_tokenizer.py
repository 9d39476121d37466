import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tvm_c4n.assets import ROOT
from tvm_c4n.errors import CheckpointError
from tvm_c4n.runtime.tokenizer import TextStream, TextTokenizer

FILE = ROOT / "mamba-19m" / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer(FILE)


def stream(tokenizer, ids):
    """The pieces of a stream, the end included."""
    text = TextStream(tokenizer)
    return [text.put(token) for token in ids] + [text.end()]


def test_a_prompt_starts_with_the_stop_token(tokenizer):
    ids = tokenizer.encode("The river")
    assert ids[0] == tokenizer.stop == 0
    assert tokenizer.decode(ids) == "The river"
    assert tokenizer.encode("") == [0]


# Surrogates have no UTF-8; the tokenizer's special token has no text.
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_pieces_of_a_stream_are_the_whole_text(text):
    tokenizer = TextTokenizer(FILE)
    ids = tokenizer.encode(text)[1:]
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_of_several_tokens_appears_when_it_is_complete(tokenizer):
    ids = tokenizer.encode("🦀")[1:]
    assert len(ids) > 1  # else this test tests nothing
    assert stream(tokenizer, ids) == [*[""] * (len(ids) - 1), "🦀", ""]


def test_half_a_character_at_the_end_is_shown_as_replacement(tokenizer):
    ids = tokenizer.encode("a🦀")[1:]
    assert "".join(stream(tokenizer, ids[:-1])).startswith("a\ufffd")


def test_garbage_bytes_do_not_hold_the_text_back(tokenizer):
    token = tokenizer.encode("🦀")[1]  # the first byte of a character, again and again
    pieces = stream(tokenizer, [token] * 8)
    assert any(pieces[:-1])


def test_spaces_survive_a_tokenizer_that_drops_the_first(tmp_path):
    raw = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "▁a": 1, "▁b": 2}, unk_token="▁a"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    raw.save(str(tmp_path / "tokenizer.json"))
    assert "".join(stream(TextTokenizer(tmp_path / "tokenizer.json"), [1, 2, 1])) == "a b a"


def test_a_tokenizer_without_the_stop_token_is_refused(tmp_path):
    content = json.loads(FILE.read_text(encoding="utf-8"))
    content["added_tokens"] = []
    content["model"]["vocab"] = {"other": 0}
    content["model"]["merges"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="endoftext"):
        TextTokenizer(tmp_path / "tokenizer.json")


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        TextTokenizer(tmp_path / "tokenizer.json")
