"""Every field with values that it may not have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.request_bodies import ChatBody, CompletionBody, read_body

TEXTS = "should be a text, a list of texts, a list of tokens, or a list of such lists"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("prompt", 5, f"prompt: {TEXTS}"),
        ("prompt", {"a": 1}, f"prompt: {TEXTS}"),
        ("prompt", ["a", 1], f"prompt: {TEXTS}"),
        ("prompt", [-1], f"prompt: {TEXTS}"),
        ("prompt", [True], f"prompt: {TEXTS}"),
        ("prompt", [[1], "a"], f"prompt: {TEXTS}"),
        ("n", 0, "n: input should be greater than or equal to 1"),
        ("n", True, "n: input should be a valid integer"),
        ("n", "2", "n: input should be a valid integer"),
        ("n", 1.5, "n: input should be a valid integer"),
        ("max_tokens", -1, "max_tokens: input should be greater than or equal to 0"),
        ("max_tokens", 10**30, None),
        ("temperature", -0.1, "temperature: input should be greater than or equal to 0"),
        ("temperature", "hot", "temperature: input should be a valid number"),
        ("top_p", 0, "top_p: input should be greater than 0"),
        ("min_p", 2, "min_p: input should be less than or equal to 1"),
        ("repetition_penalty", 0, "repetition_penalty: input should be greater than 0"),
        ("presence_penalty", 3, "presence_penalty: input should be less than or equal to 2"),
        ("seed", 2**64, "seed: input should be less than 18446744073709551616"),
        ("stop", [""], "stop: should be a text or a list of at most 16 texts"),
        ("stop", 7, "stop: should be a text or a list of at most 16 texts"),
        ("stop", ["a"] * 17, "stop: should be a text or a list of at most 16 texts"),
        ("stream", 1, "stream: input should be a valid boolean"),
        ("stream_options", [], "stream_options: input should be a valid dictionary"),
        ("logprobs", 21, "logprobs: input should be less than or equal to 20"),
        ("logprobs", True, "logprobs: input should be a valid integer"),
        ("model", 5, "model: input should be a valid string"),
        ("suffix", "the end", "suffix: this server does not have it: leave it out"),
        ("logit_bias", {"5": 1}, "logit_bias: this server does not have it: leave it out"),
        ("modle", "x", "unknown field 'modle'; did you mean model?"),
        ("xyz", None, None),
        ("user", {"any": "thing"}, None),
        ("suffix", None, None),
        ("logit_bias", {}, None),
        ("stop", None, None),
    ],
)
def test_fields_of_a_completion(field: str, value: Any, line: str | None) -> None:
    if line is None:
        read_body(CompletionBody, {field: value})
        return
    with pytest.raises(ApiError) as caught:
        read_body(CompletionBody, {field: value})
    assert str(caught.value).startswith(line)
    assert (caught.value.status, caught.value.param) == (400, field)


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        ("a", "messages: input should be a valid list"),
        ([1], "messages.0: input should be a valid dictionary"),
        ([{"content": "a"}], "messages.0.role: field required"),
        ([{"role": 1, "content": "a"}], "messages.0.role: input should be a valid string"),
        ([{"role": "user", "content": 1}], "messages.0.content: should be a text or a list of"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages.0.content: should be a text or a list of parts",
        ),
    ],
)
def test_messages(messages: Any, line: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_body(ChatBody, {"messages": messages})
    assert str(caught.value).startswith(line)


def test_what_asks_for_nothing_is_no_fault() -> None:
    nothing = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}}
    found = read_body(ChatBody, {**CHAT, **nothing, "parallel_tool_calls": True})
    assert found.messages[0].content == "a"
    for asking in ({"response_format": {"type": "json_object"}}, {"functions": [{"name": "f"}]}):
        with pytest.raises(ApiError, match="this server does not have it"):
            read_body(ChatBody, {**CHAT, **asking})


def test_a_stop_is_one_or_several() -> None:
    assert read_body(CompletionBody, {"stop": "a"}).stops == ("a",)
    assert read_body(CompletionBody, {"stop": ["a", "b"]}).stops == ("a", "b")
    assert read_body(CompletionBody, {}).stops == ()


# Names that mean something, with whatever JSON may hold.
NAMES = st.sampled_from([*CompletionBody.model_fields, *ChatBody.model_fields, "tools", "user"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from([CompletionBody, ChatBody]))
def test_whatever_comes_is_read_or_refused_in_a_line(
    body: dict[str, Any], kind: type[CompletionBody] | type[ChatBody]
) -> None:
    try:
        read_body(kind, body)
    except ApiError as error:
        assert error.status == 400
        assert "\n" not in str(error) and len(str(error)) < 1300
