"""Which tokens are trained on."""

import bz2

import numpy as np
import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.healing import HealSettings
from tvm_c4n.healing.tokens import Windows, read_tokens
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(small_model):
    return load_tokenizer(small_model)


def test_text_and_both_forms_of_tokens_are_one(words, tokenizer, tmp_path):
    ids = load_text_ids(words, tokenizer).astype("<u2")
    raw, packed = tmp_path / "ids.u16", tmp_path / "ids.u16.bz2"
    raw.write_bytes(ids.tobytes())
    packed.write_bytes(bz2.compress(ids.tobytes()))
    for path in (words, raw, packed):
        np.testing.assert_array_equal(read_tokens([path], tokenizer), ids)
    assert len(read_tokens([raw, packed], tokenizer)) == 2 * len(ids)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("odd.u16", b"abc", "odd number of bytes"),
        ("beyond.u16", np.array([1, 96], "<u2").tobytes(), "token 96 is beyond the vocabulary"),
        ("damaged.u16.bz2", b"not bz2", "not bzip2 or cut off"),
        ("cut.u16.bz2", bz2.compress(bytes(4096))[:-8], "not bzip2 or cut off"),
        ("bomb.u16.bz2", bz2.compress(bytes(64 << 20)), "unpacks to more than 10[0-9]{5} bytes"),
        ("missing.u16", None, "missing file"),
    ],
)
def test_bad_files_are_refused_in_one_line(name, data, message, tokenizer, tmp_path):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RecipeError, match=message) as caught:
        read_tokens([path], tokenizer)
    assert str(path) in str(caught.value)


def test_a_pass_visits_every_window_once_and_never_the_held_out_ones(tokenizer):
    settings = HealSettings(tokens=4096, batch=4, window=16, held_out=3, seed=2)
    windows = Windows(np.arange(15 * 19, dtype=np.uint16), tokenizer, settings)
    assert (windows.train[:, 0] == 0).all()
    assert (len(windows.train), len(windows.held_out)) == (16, 3)
    assert windows.held_out.min(axis=1).max() == 0
    assert windows.held_out[0, 1] == windows.train[-1, -1] + 1
    first = [windows.batch(step) for step in range(4)]
    assert sorted(np.concatenate(first)) == list(range(16))
    assert not np.array_equal(windows.batch(4), first[0])
    again = Windows(np.arange(15 * 19, dtype=np.uint16), tokenizer, settings)
    np.testing.assert_array_equal(again.batch(2), first[2])  # whatever came before


def test_too_little_text_is_refused(tokenizer):
    with pytest.raises(RecipeError, match="windows of 16; 11 are needed"):
        settings = HealSettings(tokens=4096, batch=8, window=16, held_out=3)
        Windows(np.zeros(100, np.uint16), tokenizer, settings)
