"""The prompts of a request as tokens, within what the model and the server take."""

from __future__ import annotations

from typing import Any, cast

from starlette.concurrency import run_in_threadpool

from tvm_c4n.errors import C4nError
from tvm_c4n.model.chat_template import ChatTemplate
from tvm_c4n.server.api_error import ApiError, refused
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.request_bodies import ChatBody, CompletionBody, Message
from tvm_c4n.server.service import Served, Service


def several(body: CompletionBody) -> list[str | list[int]]:
    """Return the prompts of a completion, at least one.

    Raises
    ------
    ApiError
        There is none.
    """
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise refused("prompt", "the list is empty")
    if isinstance(prompt[0], int):
        return [cast(Any, prompt)]  # a list of tokens, as its first one says
    return list(cast(Any, prompt))


async def tokens_of(prompt: str | list[int], model: Served, limits: Limits) -> list[int]:
    """Return the tokens of one of them.

    Raises
    ------
    ApiError
        None, one that the model does not know, or too many.
    """
    if isinstance(prompt, str):
        ids = await run_in_threadpool(model.tokenizer.prompt, prompt)
    else:
        ids = _known(prompt, model)
    return _fitting(ids, model, limits, "prompt")


def template_of(model: Served) -> ChatTemplate:
    """Return a model's chat template.

    Raises
    ------
    ApiError
        It has none.
    """
    if model.template is None:
        raise ApiError(
            400,
            f"{model.name} has no chat template, so it continues texts and does not answer: "
            "use /v1/completions",
            param="messages",
            code="no_chat_template",
        )
    return model.template


async def chat_prompt(
    body: ChatBody, model: Served, template: ChatTemplate, service: Service
) -> tuple[str, list[int]]:
    """Return the prompt that the model's template makes of a chat, and its tokens.

    Raises
    ------
    ApiError
        The template refuses these messages, or the prompt is too long.
    """
    try:
        text = await service.chats.render(template, [_plain(one) for one in body.messages])
    except C4nError as error:
        # Without the path of the model, which is nobody's business.
        said = str(error).removeprefix(f"{template.path}: ")
        raise refused("messages", said) from None
    ids = await run_in_threadpool(model.known.tokens, text, model.tokenizer.encode)
    return text, _fitting(ids, model, service.limits, "messages")


def answer_limit(wanted: int | None, prompt: int, model: Served, limits: Limits) -> int:
    """Return how many tokens an answer may have."""
    most = limits.max_tokens if wanted is None else min(wanted, limits.max_tokens)
    return most if model.context is None else min(most, model.context - prompt)


def _known(ids: list[int], model: Served) -> list[int]:
    vocabulary = model.vocabulary
    for token in ids:
        if token >= vocabulary:
            raise refused("prompt", f"token {token} is outside the vocabulary of {vocabulary}")
    if not ids:
        raise refused("prompt", "a list of tokens is empty")
    return ids


def _fitting(ids: list[int], model: Served, limits: Limits, param: str) -> list[int]:
    """Return a prompt that leaves room for one token at least."""
    most = limits.max_prompt
    if model.context is not None:
        most = min(most, model.context - 1)
    if len(ids) > most:
        raise ApiError(
            400,
            f"{param}: {len(ids)} tokens; use {most} at most",
            param=param,
            code="context_length_exceeded",
        )
    if not ids:
        raise refused(param, "the text is empty")
    return ids


def _plain(message: Message) -> dict[str, object]:
    """Return a message as templates read it: its parts are one text."""
    said = message.model_dump(exclude_none=True)
    if isinstance(message.content, list):
        said["content"] = "".join(part.text for part in message.content)
    return said
