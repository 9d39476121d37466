"""OpenAI's paths, asked over a socket: what comes back, in both forms."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.server.client import Running
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import generate


def test_a_completion_is_what_generate_says(running: Running, talking) -> None:
    engine = Engine.load(talking, threads=1)
    wanted = "".join(generate(engine, "w1 w2", 12))
    found = running.complete(max_tokens=12, model="talking")
    assert found.status == 200
    assert found.headers["content-type"] == "application/json"
    choice = found.json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (wanted, "length")
    assert found.json["object"] == "text_completion"
    usage = found.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 12)
    assert usage["total_tokens"] == 15


def test_sixteen_tokens_where_nothing_is_said(running: Running) -> None:
    assert running.complete().json["usage"]["completion_tokens"] == 16


def test_a_stream_says_the_same_in_parts(running: Running) -> None:
    whole = running.complete(max_tokens=20).json
    told = running.complete(max_tokens=20, stream=True, stream_options={"include_usage": True})
    assert told.headers["content-type"].startswith("text/event-stream")
    *events, last = told.events
    assert {event["id"] for event in (*events, last)} == {last["id"]}
    assert all(event["usage"] is None for event in events)
    text = "".join(event["choices"][0]["text"] for event in events)
    assert text == whole["choices"][0]["text"]
    assert [event["choices"][0]["finish_reason"] for event in events][-1] == "length"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 20


def test_an_answer_to_a_chat_continues_the_templates_text(running: Running) -> None:
    answer = running.chat("w1 w2", "w3", "w4", max_tokens=10)
    prompt = [0, 8, 1, 2, 7, 3, 8, 4, 7]
    continued = running.complete(prompt=prompt, max_tokens=10).json
    assert answer.json["object"] == "chat.completion"
    choice = answer.json["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == continued["choices"][0]["text"]
    assert answer.json["usage"]["prompt_tokens"] == len(prompt)
    *events, _ = running.chat(
        "w1 w2", "w3", "w4", max_tokens=10, stream=True, stream_options={"include_usage": True}
    ).events
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    told = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert told == choice["message"]["content"]


def test_parts_of_a_message_are_one_text(running: Running) -> None:
    parts = [{"type": "text", "text": "w1 "}, {"type": "text", "text": "w2"}]
    body: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 6}
    found = running.ask(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}], **body}
    )
    assert found.json["choices"] == running.chat("w1 w2", max_tokens=6).json["choices"]


def test_several_prompts_and_answers_have_their_indices(running: Running) -> None:
    body = {"prompt": ["w1 w2", "w3"], "n": 2, "max_tokens": 6, "temperature": 1, "seed": 5}
    found = running.ask("/v1/completions", body).json
    texts = [choice["text"] for choice in found["choices"]]
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]
    assert found["usage"]["completion_tokens"] == 24
    assert found["usage"]["prompt_tokens"] == 3 + 2
    for index, prompt in ((0, "w1 w2"), (2, "w3")):
        alone = running.complete(prompt=prompt, temperature=1, seed=5, max_tokens=6, n=2)
        assert [c["text"] for c in alone.json["choices"]] == texts[index : index + 2]
    assert len(set(texts)) == 4
    told: dict[int, str] = {}
    for event in running.ask("/v1/completions", {**body, "stream": True}).events:
        choice = event["choices"][0]
        told[choice["index"]] = told.get(choice["index"], "") + choice["text"]
    assert [told[index] for index in range(4)] == texts


def test_a_seed_repeats_a_text_and_none_does_not(running: Running) -> None:
    def text(**more: Any) -> str:
        found = running.complete(max_tokens=12, temperature=2, **more)
        return str(found.json["choices"][0]["text"])

    assert text(seed=3) == text(seed=3) != text(seed=-3)
    assert text() != text()


def test_a_text_stops_before_a_stop_string(running: Running) -> None:
    whole = running.complete(max_tokens=20).json["choices"][0]["text"]
    stop = whole[10:13]
    for given in (stop, ["never said", stop]):
        found = running.complete(max_tokens=20, stop=given).json["choices"][0]
        assert (found["text"], found["finish_reason"]) == (whole.partition(stop)[0], "stop")
        events = running.complete(max_tokens=20, stop=given, stream=True).events
        assert "".join(event["choices"][0]["text"] for event in events) == found["text"]
        assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_logprobs_are_those_of_the_model(running: Running, talking) -> None:
    engine = Engine.load(talking, threads=1)
    logits = engine.prefill([0, 1, 2]).astype(float)
    wanted = logits - math.log(sum(math.exp(one) for one in logits))
    best = sorted(range(len(wanted)), key=lambda token: -wanted[token])[:3]
    found = running.complete(max_tokens=3, logprobs=3).json["choices"][0]["logprobs"]
    assert found["token_logprobs"][0] == pytest.approx(wanted[best[0]], abs=1e-4)
    assert found["top_logprobs"][0] == {
        f"w{token}": pytest.approx(wanted[token], abs=1e-4) for token in best
    }
    assert found["text_offset"] == [0, len(found["tokens"][0]), len("".join(found["tokens"][:2]))]
    told = running.complete(max_tokens=3, logprobs=3, stream=True).events
    parts = [event["choices"][0]["logprobs"] for event in told]
    assert [part["tokens"][0] for part in parts] == found["tokens"]
    assert [part["text_offset"][0] for part in parts] == found["text_offset"]


def test_logprobs_of_a_chat_have_bytes(running: Running) -> None:
    answer = running.chat("w1", max_tokens=2, logprobs=True, top_logprobs=2).json
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert bytes(first["bytes"]).decode() == first["token"] == first["top_logprobs"][0]["token"]
    assert first["logprob"] == first["top_logprobs"][0]["logprob"]
    assert len(first["top_logprobs"]) == 2


def test_an_echo_has_the_prompt_and_its_logprobs(running: Running, talking) -> None:
    assert running.complete(max_tokens=2, echo=True).json["choices"][0]["text"].startswith("w1 w2")
    found = running.complete(prompt=[0, 1, 2, 3], max_tokens=0, echo=True, logprobs=0).json
    scores = found["choices"][0]["logprobs"]["token_logprobs"]
    rows = Engine.load(talking, threads=1).score([0, 1, 2]).astype(float)
    wanted = [
        row[token] - math.log(sum(math.exp(one) for one in row))
        for row, token in zip(rows, [1, 2, 3], strict=True)
    ]
    assert scores == [None, *(pytest.approx(one, abs=1e-4) for one in wanted)]
    assert found["usage"]["completion_tokens"] == 0
    assert found["choices"][0]["finish_reason"] == "length"


def test_the_models_are_listed(running: Running) -> None:
    listed = running.ask("/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["talking", "art"]
    one = running.ask("/v1/models/art").json
    assert (one["object"], one["context_length"], one["chat"]) == ("model", 64, False)


def test_a_text_ends_at_the_models_context(running: Running) -> None:
    found = running.complete(model="art", prompt=[1] * 50, max_tokens=100).json
    assert found["usage"]["total_tokens"] <= 64
    assert found["choices"][0]["finish_reason"] in ("length", "stop")


REFUSED = [
    ("/v1/completions", {"prompt": "w1", "modle": 1}, 400, "unknown field 'modle'; did you mean"),
    ("/v1/completions", {"best_of": 3}, 400, "best_of: this server has only n: leave it out"),
    ("/v1/completions", {"max_tokens": 0}, 400, "max_tokens: 0 tokens without echo are no answer"),
    ("/v1/completions", {"prompt": []}, 400, "prompt: the list is empty"),
    ("/v1/completions", {"prompt": [[]]}, 400, "prompt: a list of tokens is empty"),
    ("/v1/completions", {"prompt": [96]}, 400, "prompt: token 96 is outside the vocabulary of 96"),
    ("/v1/completions", {"n": 99}, 400, "n: the request has 99 answers; use 16 at most"),
    (
        "/v1/completions",
        {"n": 8, "prompt": ["w1"] * 3},
        400,
        "n: the request has 24 answers; use 16 at most",
    ),
    ("/v1/completions", {"prompt": [1] * 40000}, 400, "prompt: 40000 tokens; use 32768 at most"),
    (
        "/v1/completions",
        {"model": "art", "prompt": [1] * 64},
        400,
        "prompt: 64 tokens; use 63 at most",
    ),
    ("/v1/completions", {"stream_options": {}}, 400, 'stream_options: needs "stream": true'),
    ("/v1/completions", {"model": "x"}, 404, "no model 'x': this server has talking, art"),
    ("/v1/models/x", None, 404, "no model 'x': this server has talking, art"),
    ("/v1/chat/completions", {}, 400, "messages: field required"),
    ("/v1/chat/completions", {"messages": []}, 400, "messages: list should have at least 1 item"),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "no"}]},
        400,
        "messages: the chat template says: not with me",
    ),
    (
        "/v1/chat/completions",
        {"model": "art", "messages": [{"role": "user", "content": "w1"}]},
        400,
        "art has no chat template, so it continues texts and does not answer: use /v1/completions",
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "w1"}], "tools": [{"type": "function"}]},
        400,
        "tools: this server does not have it: leave it out",
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "w1"}], "top_logprobs": 2},
        400,
        'top_logprobs: needs "logprobs": true',
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "w1"}], "max_tokens": 0},
        400,
        "max_tokens: 0 tokens are no answer; use 1 or more",
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "w1"}], "n": 17},
        400,
        "n: the request has 17 answers; use 16 at most",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "line"), REFUSED)
def test_what_is_refused(running: Running, path: str, body: Any, status: int, line: str) -> None:
    found = running.ask(path, body)
    assert (found.status, found.error.startswith(line)) == (status, True), found.error
    error = found.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
