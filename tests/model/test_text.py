"""Documents, separators and tokens."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tvm_c4n.assets import ROOT, VALID_TEXT
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.text import load_text_ids, read_documents
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer


@pytest.fixture
def words():
    vocabulary = {"<|endoftext|>": 0, "one": 1, "two": 2, "three": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="three"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextTokenizer(tokenizer, start=0, ends=(0, 2))


def test_documents_of_a_text_keep_their_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo\n<|endoftext|>\n three <|endoftext|> here\n<|endoftext|>\n")
    assert read_documents(path) == ["one\n\ntwo", " three <|endoftext|> here"]


def test_jsonl_and_text_give_the_same_ids(tmp_path, words):
    text, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    text.write_text("one two\n<|endoftext|>\nthree")
    lines.write_text("".join(json.dumps({"text": t}) + "\n" for t in ("one two", "", "three")))
    np.testing.assert_array_equal(load_text_ids(text, words), [1, 2, 0, 3, 0])
    np.testing.assert_array_equal(load_text_ids(lines, words), [1, 2, 0, 3, 0])


def test_the_validation_text_has_its_documents(tmp_path):
    tokenizer = load_tokenizer(ROOT / "mamba-19m")
    ids = load_text_ids(VALID_TEXT, tokenizer)
    sources = json.loads((VALID_TEXT.parent / "valid_sources.json").read_text())
    assert np.count_nonzero(ids == 0) == len(sources) and ids[-1] == 0
    assert tokenizer.decode(ids[:200].tolist()).startswith("scipy.stats.iqr")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\n <|endoftext|>\n", None),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"<|endoftext|>\n\n<|endoftext|>\n", "holds no text"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "line 2"),
        ("a.jsonl", b'{"text": 3}\n', "line 1"),
        ("a.jsonl", b"not json\n", "line 1"),
        ("a.jsonl", b"\n", "holds no text"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    if message is None:
        assert read_documents(tmp_path / name) == ["\n <|endoftext|>\n"]
        return
    with pytest.raises(RecipeError, match=message):
        read_documents(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.txt: missing file"):
        read_documents(tmp_path / "none.txt")
