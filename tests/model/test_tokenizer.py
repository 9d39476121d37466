"""Which tokens start and end a text, and tokenizers that are no such files."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.models import HF
from tvm_c4n.assets import ROOT
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.tokenizer import load_tokenizer

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.fixture
def folder(tmp_path):
    """A folder whose tokenizer has the tokens 0 to 3, none of them called <|endoftext|>."""
    raw = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.add_special_tokens(["<s>", "</s>"])
    raw.save(str(tmp_path / "tokenizer.json"))
    write(tmp_path, "config.json", **HF)
    return tmp_path


def write(folder, name, **content):
    (folder / name).write_text(json.dumps(content))


def test_texts_of_the_default_model_start_as_in_training():
    tokenizer = load_tokenizer(ROOT / "mamba-19m")
    assert (tokenizer.start, tokenizer.ends, tokenizer.separator) == (0, (0,), 0)
    ids = tokenizer.prompt("The river")
    assert ids == [0, *tokenizer.encode("The river")]
    assert tokenizer.decode(ids) == "The river"
    assert tokenizer.prompt("") == [0]


def test_generation_config_comes_before_config_and_that_before_tokenizer_config(folder):
    write(folder, "tokenizer_config.json", bos_token="<s>", eos_token={"content": "</s>"})
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.start, tokenizer.ends) == (0, (1,))
    assert tokenizer.prompt("a b") == [2, 3], "the tokenizer puts nothing in front"
    assert tokenizer.prompt("") == [0]
    write(folder, "config.json", **HF, eos_token_id=[5, 2, 5], bos_token_id=7)
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.start, tokenizer.ends, tokenizer.separator) == (7, (5, 2), 5)
    write(folder, "generation_config.json", eos_token_id=3, bos_token_id=None)
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.start, tokenizer.ends) == (7, (3,))


def test_without_a_bos_the_separator_starts_a_text(folder):
    write(folder, "generation_config.json", eos_token_id=[1, 3])
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.start, tokenizer.ends) == (1, (1, 3))


def test_a_model_of_which_no_file_says_what_ends_a_text_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"config\.json: no eos_token_id .*set eos_token_id"):
        load_tokenizer(folder)


@pytest.mark.parametrize("value", [96, -1, True, "0", [], [0, 1.5], {}])
def test_a_token_that_the_model_does_not_know_is_refused(folder, value):
    write(folder, "generation_config.json", eos_token_id=value)
    with pytest.raises(CheckpointError, match=r"generation_config\.json: eos_token_id is .* to 95"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(("text", "said"), [(LFS, "Git LFS pointer"), ("<html>", "web page")])
def test_what_stands_in_the_place_of_a_file_is_called_that(folder, name, text, said):
    (folder / name).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{name}: a {said}"):
        load_tokenizer(folder)


def test_a_tokenizer_of_another_kind_is_named_with_the_way_to_convert_it(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: missing file; copy"):
        load_tokenizer(folder)
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is not read; .*save_pretrained"):
        load_tokenizer(folder)
    (folder / "tokenizer.model").write_text(LFS)
    with pytest.raises(CheckpointError, match=r"tokenizer\.model: a Git LFS pointer"):
        load_tokenizer(folder)


def test_a_damaged_tokenizer_is_named(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(folder)
