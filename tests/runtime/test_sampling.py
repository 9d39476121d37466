"""Parameters of sampling are checked when they are given: one line for a bad value."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.sampling import SamplingOptions, SamplingParams, sampling_params

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "values", "use"),
    [
        ("temperature", (-1.0, NAN, INF, None, True, 1j), "0 (most likely token) or more"),
        ("top_k", (-1, 0.5, NAN), "0 (all tokens) or more"),
        ("top_p", (-0.1, 1.1, NAN), "0 to 1 (all tokens)"),
        ("min_p", (-0.1, 1.1, NAN), "0 (all tokens) to 1"),
        ("repeat_penalty", (0.0, -1.0, NAN, INF), "more than 0 (1: none)"),
        ("repeat_last_n", (-2,), "-1 (the whole text), 0 (none) or more"),
        ("presence_penalty", (NAN, INF), "a finite number (0: none)"),
        ("frequency_penalty", (NAN, -INF), "a finite number (0: none)"),
        ("seed", (-1, 1.5), "0 or more"),
        ("logprobs", (-1,), "0 or more"),
    ],
)
def test_a_bad_value_is_named(name: str, values: tuple[float, ...], use: str) -> None:
    for value in values:
        with pytest.raises(C4nError) as raised:
            SamplingParams(**{name: value})  # type: ignore[arg-type]
        assert str(raised.value) == f"{name} is {value}; use {use}"


def test_a_text_in_place_of_a_number_is_quoted() -> None:
    with pytest.raises(C4nError, match="temperature is 'hot'; use 0"):
        SamplingParams(temperature="hot")  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", ["end", 3, None, ("a", 1), {"a"}])
def test_stop_strings_that_are_none_are_refused(stop: object) -> None:
    with pytest.raises(C4nError, match=r"stop is .*; use a tuple of strings"):
        SamplingParams(stop=stop)  # type: ignore[arg-type]


def test_keywords_are_the_fields() -> None:
    assert list(SamplingOptions.__annotations__) == [field.name for field in fields(SamplingParams)]
    assert sampling_params({}) == SamplingParams()
    found = sampling_params({"temperature": 1, "stop": "end", "logprobs": 2})
    assert found == SamplingParams(temperature=1, stop=("end",), logprobs=2)
    assert sampling_params({"stop": ["a", "b"]}).stop == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("topk", "did you mean top_k?"), ("max_tokens", "there are temperature, top_k, top_p,")],
)
def test_a_keyword_that_is_none_is_named_with_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(C4nError) as raised:
        sampling_params({name: 1})  # type: ignore[misc]
    assert str(raised.value).startswith(f"'{name}' is no parameter of sampling: {remedy}")


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(C4nError, match="a stop string is empty"):
        SamplingParams(stop=("a", ""))


def test_penalties_need_a_window_and_a_strength() -> None:
    assert not SamplingParams().penalises
    assert not SamplingParams(repeat_penalty=1.3, repeat_last_n=0).penalises
    for name in ("presence_penalty", "frequency_penalty", "repeat_penalty"):
        assert SamplingParams(**{name: 0.5}).penalises  # type: ignore[arg-type]
