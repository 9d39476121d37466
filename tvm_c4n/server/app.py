"""The ASGI application: paths, and what is said where there is none."""

from __future__ import annotations

from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tvm_c4n.server import handlers
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.body import ClientDisconnect
from tvm_c4n.server.guard import Guard
from tvm_c4n.server.metrics import Metrics
from tvm_c4n.server.page import page
from tvm_c4n.server.responses import error_response, json_response
from tvm_c4n.server.service import Service

# nginx's number for a client that left before the end; nobody is sent it.
_LEFT = 499


def make_app(service: Service, *, key: str | None = None, loopback: bool = True) -> Starlette:
    """Make the application of a service.

    Parameters
    ----------
    service : Service
    key : str, optional
        That requests must bring.
    loopback : bool
        Whether only this machine reaches the server; see `Guard`.
    """
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/health", _health),
            Route("/metrics", _metrics),
            Route("/v1/models", handlers.models),
            Route("/v1/models/{name}", handlers.model),
            Route("/v1/completions", handlers.completions, methods=["POST"]),
            Route("/v1/chat/completions", handlers.chat_completions, methods=["POST"]),
        ],
        middleware=[
            Middleware(_Counting, metrics=service.metrics),
            Middleware(Guard, key=key, loopback=loopback),
        ],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _left,
            Exception: _failure,
        },
    )
    app.state.service = service
    return app


class _Counting:
    """Middleware that counts requests by the status of their answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, whole = _LEFT, False

        async def watched(message: Message) -> None:
            nonlocal status, whole
            status = message.get("status", status)
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            whole = whole or ended
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.answered(scope["path"], status if whole else _LEFT)


async def _health(request: Request) -> Response:
    """Answer whether requests are taken."""
    closed = handlers.service_of(request).admission.closed
    status = "shutting down" if closed else "ok"
    return json_response({"status": status}, 503 if closed else 200)


async def _metrics(request: Request) -> Response:
    metrics = handlers.service_of(request).metrics
    return Response(metrics.text(), headers={"Content-Type": metrics.content_type})


async def _api_error(request: Request, error: Exception) -> Response:
    return error_response(cast(ApiError, error))


async def _http_error(request: Request, error: Exception) -> Response:
    """Say what starlette found wrong: the path, or its method."""
    found = cast(HTTPException, error)
    what = f"{request.method} {request.url.path}"
    said = {404: f"{what}: no such path", 405: f"{what}: this path takes another method"}
    message = said.get(found.status_code, f"{what}: {found.detail}")
    return error_response(ApiError(found.status_code, message, headers=found.headers))


async def _left(request: Request, error: Exception) -> Response:
    """Return what nobody reads."""
    return Response(status_code=_LEFT)


async def _failure(request: Request, error: Exception) -> Response:
    return error_response(ApiError(500, "the server failed; its log says more"))
