"""A vocabulary becomes a tokenizer that has llama.cpp's tokens."""

import json

import gguf
import pytest
from tokenizers import Tokenizer

from tests.frontend.gguf.made import add_vocabulary
from tvm_c4n.errors import CheckpointError
from tvm_c4n.frontend.gguf.file import GgufFile
from tvm_c4n.frontend.gguf.tokenizer import NoTokenizer, text_files
from tvm_c4n.model.tokenizer import load_tokenizer

CONFIG = {
    "model_type": "mamba", "vocab_size": 263, "hidden_size": 8, "num_hidden_layers": 1,
    "state_size": 4, "conv_kernel": 4,
}  # fmt: skip


def file_of(tmp_path, pre="gpt-2", **change):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    add_vocabulary(writer, pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    file = GgufFile(tmp_path / "m.gguf")
    file.values.update({f"tokenizer.ggml.{name}": value for name, value in change.items()})
    return file


def split(tmp_path, pre, text):
    """The pieces that a text is split into before BPE."""
    tokenizer = Tokenizer.from_str(text_files(file_of(tmp_path, pre))["tokenizer.json"])
    return [text[a:b] for _, (a, b) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def test_tokens_merges_and_special_tokens(tmp_path):
    files = text_files(file_of(tmp_path))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    found = load_tokenizer(tmp_path)
    assert found.encode("hey he<|end|>é") == [257, *found.encode(" "), 256, 258, *found.encode("é")]
    assert found.prompt("he") == [258, 256]  # add_bos_token
    assert found.decode([257, 258, 259]) == "hey<tool>"  # <|end|> is special, <tool> is not
    assert (found.start, found.ends) == (258, (258, 259))
    assert found.vocab_size == 260  # spare places are no tokens
    assert found.apply_chat_template([{"role": "user", "content": "hey"}]) == "hey"
    assert all(found.decode(found.encode(text)) == text for text in ("a  b\n\tc 12 'll", "日本 🙂"))


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["it", "'ll", " be", " 12345", "!!", " ", " x"]),
        ("refact", ["it", "'ll", " be", " ", "1", "2", "3", "4", "5", "!!", " ", " x"]),
        ("llama-bpe", ["it", "'ll", " be", " ", "123", "45", "!!", " ", " x"]),
        ("lfm2", ["it", "'ll", " be", " ", "123", "45", "!!", " ", " x"]),
        ("falcon", ["it", "'", "ll", " be", " ", "123", "45", "!!", " ", " x"]),
    ],
)
def test_texts_are_split_as_the_word_says(pre, pieces, tmp_path):
    assert split(tmp_path, pre, "it'll be 12345!!  x") == pieces


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "llama"}, "of kind 'llama'; only 'gpt2'"),
        ({"model": None}, "of kind None"),
        ({"pre": "tekken"}, "splits texts as 'tekken', which is not known"),
    ],
)
def test_other_vocabularies_are_named(change, message, tmp_path):
    with pytest.raises(NoTokenizer, match=message):
        text_files(file_of(tmp_path, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 3}, "tokenizer.ggml.tokens is no list of strings"),
        ({"token_type": [1]}, "token_type does not fit its tokens"),
        ({"merges": ["no pair"]}, "no vocabulary of BPE"),
        ({"eos_token_id": 1000}, "eos_token_id is 1000, and there are 263 tokens"),
    ],
)
def test_damage_is_one_line(change, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        text_files(file_of(tmp_path, **change))
