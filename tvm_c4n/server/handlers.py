"""The paths of OpenAI's API."""

from __future__ import annotations

import secrets
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.server.answering import Answering
from tvm_c4n.server.api_error import refused
from tvm_c4n.server.body import read_object
from tvm_c4n.server.job import Job
from tvm_c4n.server.mailbox import Mailbox
from tvm_c4n.server.objects import ChatForm, Form
from tvm_c4n.server.prompts import answer_limit, chat_prompt, prompts_of
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
    _check_count(body, service)
    model = service.model(body.model)
    prompts = await prompts_of(body, model, service.limits)
    form = Form(model.name, model.tokenizer, body.logprobs is not None)
    wanted = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    answering = _answering(service, model, body, form)
    sampling = sampling_of(body, body.logprobs)
    for index, ids in enumerate(prompts):
        choices = range(index * body.n, (index + 1) * body.n)
        limit = answer_limit(wanted, len(ids), model, service.limits)
        echo = _text(body, index, ids, model) if body.echo else None
        answering.jobs.append(_job(ids, choices, sampling, limit, answering, echo))
    return answering


async def chat_completions(request: Request) -> Response:
    """Answer POST /v1/chat/completions: the next message of a chat."""
    service = service_of(request)
    body = read_body(ChatBody, await read_object(request, service.limits))
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if wanted == 0:
        raise refused("max_tokens", "0 tokens are no answer; use 1 or more")
    if body.top_logprobs and not body.logprobs:
        raise refused("top_logprobs", 'needs "logprobs": true')
    _check_count(body, service)
    model = service.model(body.model)
    ids = await chat_prompt(body, model, service.limits)
    answering = _answering(
        service, model, body, ChatForm(model.name, model.tokenizer, body.logprobs)
    )
    limit = answer_limit(wanted, len(ids), model, service.limits)
    sampling = sampling_of(body, body.top_logprobs if body.logprobs else None)
    answering.jobs.append(_job(ids, range(body.n), sampling, limit, answering))
    return answering


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


def _check_count(body: GenerationBody, service: Service) -> None:
    """Refuse more answers than there may be, before the prompt is looked at."""
    if body.n > service.limits.max_choices:
        raise refused("n", f"{body.n} answers; use {service.limits.max_choices} at most")
    service.admission.check(body.n)


def _model(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "tvm-c4n",
        "context_length": served.context,
        "chat": served.template is not None,
    }


def _answering(service: Service, model: Served, body: GenerationBody, form: Form) -> Answering:
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    if body.stream_options is not None and not body.stream:
        raise refused("stream_options", 'needs "stream": true')
    mailbox = Mailbox(
        service.limits.unread_pieces, streamed=body.stream, resume=service.scheduler.wake
    )
    return Answering(service, model, [], mailbox, form, body.stream, with_usage)


def _job(
    ids: list[int],
    choices: range,
    sampling: SamplingParams,
    limit: int,
    answering: Answering,
    echo: str | None = None,
) -> Job:
    deadline = monotonic() + answering.service.limits.request_secs
    return Job(ids, choices, sampling, limit, answering.mailbox, deadline, echo)


def _text(body: CompletionBody, index: int, ids: list[int], model: Served) -> str:
    """Return a prompt as it was given, or the text of its tokens."""
    prompt = body.prompt
    given = prompt if isinstance(prompt, str) else prompt[index] if prompt else ""
    return given if isinstance(given, str) else model.tokenizer.decode(ids)
