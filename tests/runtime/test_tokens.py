"""Tokens are integers of the vocabulary, in every entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.tokens import check_room, check_token, check_tokens

BAD = {
    "above": (96, "token 96 is outside the vocabulary of 96"),
    "far above": (99999, "token 99999 is outside the vocabulary of 96"),
    "beyond 64 bits": (2**80, "token of 2.64 or more is outside the vocabulary of 96"),
    "wraps to 1": (2**32 + 1, "token 4294967297 is outside the vocabulary of 96"),
    "below": (-1, "token -1 is outside the vocabulary of 96"),
    "float": (1.0, "token 1.0 is no integer"),
    "nan": (float("nan"), "token nan is no integer"),
    "bool": (True, "token True is no integer"),
    "numpy's bool": (np.bool_(True), "token .*True.* is no integer"),
    "numpy's float": (np.float32(1), "is no integer"),
    "text": ("1", "token '1' is no integer"),
    "none": (None, "token None is no integer"),
    "list": ([1, 2], r"token \[1, 2\] is no integer"),
    "lines": ("a\n" * 99, r"token 'a\\na\\n.*\.\.\. is no integer"),
}


@pytest.fixture(scope="module")
def engine(small_artifact: Path) -> Engine:
    return Engine.load(small_artifact, threads=1)


@pytest.mark.parametrize(("token", "message"), BAD.values(), ids=BAD)
def test_what_is_no_token_is_refused_everywhere(engine: Engine, token: Any, message: str) -> None:
    calls = [
        lambda: check_token(token, 96),
        lambda: engine.step(token),
        lambda: engine.prefill([1, token]),
        lambda: engine.score((token, 1)),
    ]
    for call in calls:
        with pytest.raises(C4nError, match=message):
            call()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "no tokens to read"),
        ("", "no tokens to read"),
        ("some text", "tokens are a text: give the ids"),
        (7, "tokens are 7: give a list"),
        ([[1, 2]], r"token \[1, 2\] is no integer"),
        (np.array([[1, 2]]), r"tokens have shape \[1, 2\]"),
        (np.array([1.0]), "tokens are float64 numbers"),
        (np.array([True]), "tokens are bool numbers"),
        (np.array([2**32 + 1]), "token 4294967297 is outside"),
        (np.array([2**64 - 1], np.uint64), "token 18446744073709551615 is outside"),
        (np.array([-1]), "token -1 is outside"),
    ],
)
def test_what_are_no_tokens_is_refused(engine: Engine, ids: Any, message: str) -> None:
    for call in (engine.prefill, engine.score):
        with pytest.raises(C4nError, match=message):
            call(ids)


def test_integers_of_any_kind_are_taken() -> None:
    for ids in ([3, 5], (3, 5), np.array([3, 5], np.uint16), [np.int64(3), 5], range(3, 7, 2)):
        found = check_tokens(ids, 6)
        assert found.dtype == np.int32
        assert found.tolist() == [3, 5]
    assert type(check_token(np.int64(5), 6)) is int


def test_a_text_has_room_up_to_the_context():
    assert check_room(60, 4, 64) == 64
    assert check_room(10**9, 1, None) == 10**9 + 1
    with pytest.raises(C4nError, match="the text has 65 tokens: this model reads 64 at most"):
        check_room(60, 5, 64)
