"""The paths of OpenAI's API."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.server.answering import Answering, Prepared
from tvm_c4n.server.api_error import refused
from tvm_c4n.server.body import read_object
from tvm_c4n.server.job import Job
from tvm_c4n.server.mailbox import Mailbox
from tvm_c4n.server.objects import ChatForm, Form
from tvm_c4n.server.prompts import answer_limit, chat_prompt, several, template_of, tokens_of
from tvm_c4n.server.request_bodies import (
    DEFAULT_TOKENS,
    ChatBody,
    CompletionBody,
    GenerationBody,
    read_body,
)
from tvm_c4n.server.responses import json_response
from tvm_c4n.server.service import Served, Service


async def completions(request: Request) -> Response:
    """Answer POST /v1/completions: continue texts."""
    service = service_of(request)
    body = read_body(CompletionBody, await read_object(request, service.limits))
    if body.best_of not in (None, body.n):
        raise refused("best_of", "this server has only n: leave it out")
    if body.max_tokens == 0 and not body.echo:
        raise refused("max_tokens", "0 tokens without echo are no answer; use 1 or more")
    model, texts = service.model(body.model), several(body)
    sampling = sampling_of(body, body.logprobs)
    wanted = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens

    async def prepare(mailbox: Mailbox) -> Prepared:
        jobs = []
        for index, text in enumerate(texts):
            ids = await tokens_of(text, model, service.limits)
            echo = _text(text, model) if body.echo else None
            choices = range(index * body.n, (index + 1) * body.n)
            limit = answer_limit(wanted, len(ids), model, service.limits)
            deadline = monotonic() + service.limits.request_secs
            jobs.append(Job(ids, choices, sampling, limit, mailbox, deadline, echo))
        form = Form(model.name, model.tokenizer, body.logprobs is not None)
        return Prepared(model, jobs, form)

    return _answering(service, body, body.n * len(texts), prepare)


async def chat_completions(request: Request) -> Response:
    """Answer POST /v1/chat/completions: the next message of a chat."""
    service = service_of(request)
    body = read_body(ChatBody, await read_object(request, service.limits))
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if wanted == 0:
        raise refused("max_tokens", "0 tokens are no answer; use 1 or more")
    if body.top_logprobs and not body.logprobs:
        raise refused("top_logprobs", 'needs "logprobs": true')
    model = service.model(body.model)
    template = template_of(model)
    sampling = sampling_of(body, body.top_logprobs if body.logprobs else None)

    async def prepare(mailbox: Mailbox) -> Prepared:
        text, ids = await chat_prompt(body, model, template, service)
        limit = answer_limit(wanted, len(ids), model, service.limits)
        deadline = monotonic() + service.limits.request_secs
        job = Job(ids, range(body.n), sampling, limit, mailbox, deadline)
        job.remember = lambda answer, tokens: model.known.remember(text + answer, tokens)
        return Prepared(model, [job], ChatForm(model.name, model.tokenizer, body.logprobs))

    return _answering(service, body, body.n, prepare)


async def models(request: Request) -> Response:
    """Answer GET /v1/models."""
    listed = [_model(served) for served in service_of(request).models.values()]
    return json_response({"object": "list", "data": listed})


async def model(request: Request) -> Response:
    """Answer GET /v1/models/NAME."""
    return json_response(_model(service_of(request).model(request.path_params["name"])))


def service_of(request: Request) -> Service:
    """Return what a request's handler works with."""
    service: Service = request.app.state.service
    return service


def sampling_of(body: GenerationBody, logprobs: int | None) -> SamplingParams:
    """Return how tokens are chosen; without a seed, by one that nobody knows."""
    return SamplingParams(
        temperature=body.temperature,
        top_k=max(body.top_k, 0),
        top_p=body.top_p,
        min_p=body.min_p,
        repeat_penalty=body.repetition_penalty,
        repeat_last_n=body.repeat_last_n,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=secrets.randbits(63) if body.seed is None else body.seed % (1 << 64),
        stop=body.stops,
        logprobs=logprobs,
    )


def _model(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "tvm-c4n",
        "context_length": served.context,
        "chat": served.template is not None,
    }


def _answering(
    service: Service,
    body: GenerationBody,
    answers: int,
    prepare: Callable[[Mailbox], Awaitable[Prepared]],
) -> Answering:
    if answers > service.limits.max_choices:
        raise refused(
            "n", f"the request has {answers} answers; use {service.limits.max_choices} at most"
        )
    if body.stream_options is not None and not body.stream:
        raise refused("stream_options", 'needs "stream": true')
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    return Answering(service, answers, prepare, body.stream, with_usage)


def _text(prompt: str | list[int], model: Served) -> str:
    """Return a prompt as it was given, or the text of its tokens."""
    return prompt if isinstance(prompt, str) else model.tokenizer.decode(prompt)
