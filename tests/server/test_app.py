"""Paths that say how the server is, and errors in the form of OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.server.client import Running
from tvm_c4n.server.limits import Limits


def test_health_and_headers_of_every_response(running: Running) -> None:
    for path in ("/health", "/", "/v1/models", "/none"):
        found = running.ask(path)
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in found.headers
        assert "server" not in found.headers
    assert running.ask("/health").json == {"status": "ok"}


def test_wrong_paths_and_methods_are_errors_in_json(running: Running) -> None:
    missing = running.ask("/v1/embeddings", {})
    assert (missing.status, missing.error) == (404, "POST /v1/embeddings: no such path")
    wrong = running.ask("/v1/completions")
    said = "GET /v1/completions: this path takes another method"
    assert (wrong.status, wrong.error) == (405, said)
    assert wrong.headers["allow"] == "POST"
    assert running.ask("/v1/models", {}).status == 405


def test_metrics_count_what_was_done(running: Running) -> None:
    names = {
        "answered": 'c4n_requests_total{path="/v1/completions",status="200"}',
        "refused": 'c4n_requests_total{path="/v1/completions",status="400"}',
        "elsewhere": 'c4n_requests_total{path="other",status="404"}',
        "prompt": "c4n_prompt_tokens_total",
        "cached": "c4n_cached_tokens_total",
        "read": "c4n_read_tokens_total",
        "hits": "c4n_prefix_hits_total",
        "generated": "c4n_generated_tokens_total",
        "first": "c4n_first_token_seconds_count",
    }
    before = {key: running.metric(name) for key, name in names.items()}
    prompt = [0, 50, 51, 52, 53]
    assert running.complete(prompt=prompt, max_tokens=4).status == 200
    assert running.complete(prompt=[*prompt, 54], max_tokens=4).status == 200
    assert running.complete(prompt=[]).status == 400
    assert running.ask("/a/path/that/nobody/knows").status == 404
    new = {key: running.metric(name) - before[key] for key, name in names.items()}
    counts = {"answered": 2, "refused": 1, "elsewhere": 1, "hits": 1, "first": 2}
    assert new == {**counts, "prompt": 11, "cached": 5, "read": 6, "generated": 8}
    text = running.ask("/metrics").data.decode()
    assert "process_resident_memory_bytes" in text
    # Prometheus' format: a comment, or a name with its number.
    line = re.compile(r'#.*|[a-z0-9_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+.\deInf]+')
    assert all(line.fullmatch(one) for one in text.splitlines()), text


def test_a_full_queue_is_refused_at_once(start: Callable[..., Running]) -> None:
    running = start(Limits(slots=1, queue=1))
    long = {"prompt": "w1 w2", "max_tokens": 4096, "temperature": 0, "stream": True}
    from tests.server.client import request_bytes, wait_until

    connections = [running.socket(request_bytes(long)) for _ in range(2)]
    wait_until(lambda: running.service.admission.count == 2)
    found = running.complete()
    assert (found.status, found.json["error"]["code"]) == (429, "queue_full")
    assert found.headers["retry-after"] == "1"
    for connection in connections:
        connection.close()
    wait_until(lambda: running.service.admission.count == 0)
    assert running.complete(max_tokens=1).status == 200


def test_a_model_that_fails_is_an_error_and_the_server_goes_on(
    start: Callable[..., Running], capfd, monkeypatch
) -> None:
    running = start()
    lane = running.service.models["talking"].lane
    working = lane._answers._batch.step

    def failing(tokens):
        raise RuntimeError("kernel went wrong")

    monkeypatch.setattr(lane._answers._batch, "step", failing)
    found = running.complete(max_tokens=4)
    assert (found.status, found.error) == (
        500,
        "the model failed: RuntimeError: kernel went wrong",
    )
    # One token comes before the first step; the status has been sent.
    told = running.complete(max_tokens=4, stream=True)
    assert told.status == 200
    assert "kernel went wrong" in told.data.decode().split("\n\n")[-2]
    monkeypatch.setattr(lane._answers._batch, "step", working)
    assert running.complete(max_tokens=4).status == 200
