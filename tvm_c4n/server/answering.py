"""From a request's jobs to its response: whole, or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.job import Job
from tvm_c4n.server.mailbox import Mailbox, Piece
from tvm_c4n.server.objects import Form, Usage
from tvm_c4n.server.responses import error_response, json_response, to_json
from tvm_c4n.server.service import Served, Service


@dataclass(frozen=True)
class Prepared:
    """What a request asks for, once its prompts are tokens.

    Attributes
    ----------
    model : Served
    jobs : list of Job
        All of them put their pieces into the same mailbox.
    form : Form
    """

    model: Served
    jobs: list[Job]
    form: Form


@dataclass
class Answering(Response):
    """The response of a request whose answers are still to be generated.

    Attributes
    ----------
    service : Service
    answers : int
        How many it asks for. They count as under way from now on.
    prepare : callable
        Makes the jobs, which put their pieces into the mailbox that it gets.
    streamed : bool
    with_usage : bool
        Whether a stream ends with the tokens that it took.
    """

    service: Service
    answers: int
    prepare: Callable[[Mailbox], Awaitable[Prepared]]
    streamed: bool
    with_usage: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and answer; a client that leaves ends the generation."""
        service = self.service
        self.mailbox = Mailbox(
            service.limits.unread_pieces, streamed=self.streamed, resume=service.scheduler.wake
        )
        try:
            with service.admission.enter(self.answers):
                prepared = await self.prepare(self.mailbox)
                self.jobs, self.form = prepared.jobs, prepared.form
                async with self._under_way(prepared.model, receive):
                    answer = self._stream if self.streamed else self._whole
                    await answer(scope, receive, send)
        except ClientDisconnect:
            pass
        except ApiError as error:
            await error_response(error)(scope, receive, send)

    @asynccontextmanager
    async def _under_way(self, model: Served, receive: Receive) -> AsyncIterator[None]:
        """Have the jobs done, until the block ends or the client leaves."""

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.mailbox.leave()

        watching = asyncio.create_task(watch())
        try:
            for job in self.jobs:
                self.service.scheduler.submit(model.lane, job)
            yield
        finally:
            self.mailbox.left = True
            watching.cancel()

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        pieces: dict[int, list[Piece]] = {}
        ended = 0
        while ended < self.answers:
            for piece in await self.mailbox.take():
                pieces.setdefault(piece.choice, []).append(piece)
                ended += piece.finish is not None
        choices = [self.form.choice(index, pieces[index]) for index in sorted(pieces)]
        usage = self._usage(sum(found[-1].tokens for found in pieces.values()))
        await json_response(self.form.whole(choices, usage))(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events; the response begins when the first piece is there, or an error."""
        first = await self.mailbox.take()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        try:
            await self._send_events(first, send)
        except ApiError as error:
            # The status has been sent: clients find the error among the events.
            await send(_body(_event(error.content()), last=True))

    async def _send_events(self, pieces: list[Piece], send: Send) -> None:
        form, more = self.form, {"usage": None} if self.with_usage else {}
        indices = [index for job in self.jobs for index in job.choices]
        openings = [form.opening(index) for index in indices]
        text = b"".join(_event(form.chunk([one], **more)) for one in openings if one)
        tokens: dict[int, int] = {}
        ended = 0
        while True:
            for piece in _joined(pieces):
                tokens[piece.choice] = piece.tokens
                ended += piece.finish is not None
                text += _event(form.chunk([form.delta(piece)], **more))
            if ended == self.answers:
                break
            await send(_body(text))
            text, pieces = b"", await self.mailbox.take()
        if self.with_usage:
            usage = self._usage(sum(tokens.values())).content()
            text += _event(form.chunk([], usage=usage))
        await send(_body(text + b"data: [DONE]\n\n", last=True))

    def _usage(self, completion: int = 0) -> Usage:
        return Usage(
            sum(len(job.ids) for job in self.jobs),
            sum(job.cached for job in self.jobs),
            completion,
        )


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Make one piece of those of an answer that stand in a row: a reader who is behind catches up.

    A piece with logprobs stays by itself.
    """
    found = []
    for (choice, scored), run in groupby(pieces, lambda one: (one.choice, bool(one.scored))):
        group = list(run)
        if scored:
            found.extend(group)
        else:
            text = "".join(one.text for one in group)
            found.append(Piece(choice, text, group[-1].tokens, (), group[-1].finish))
    return found


def _event(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _body(data: bytes, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": not last}
