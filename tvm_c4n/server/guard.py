"""Who may ask: the Host and Origin of browsers, the API key, and headers of every response."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tvm_c4n.errors import shown
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.responses import error_response

# Paths that say nothing about requests or models.
_OPEN = frozenset({"/", "/health"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Return whether an address is one of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Middleware that refuses what should not come in.

    A page of another site can make a browser send requests here: by its own name, once that name
    has been pointed to this machine (DNS rebinding), or to 127.0.0.1, without reading the answer.
    The first has another Host, the second another Origin.

    Parameters
    ----------
    app : ASGI application
    key : str, optional
        Without one everybody who reaches the server may ask.
    loopback : bool
        Whether only this machine reaches it: Host must be one of its names then.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, loopback: bool) -> None:
        self._app = app
        self._key = key.encode() if key is not None else None
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope), scope["path"])
        except ApiError as error:
            await error_response(error)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check(self, headers: Headers, path: str) -> None:
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_name(host)):
            raise ApiError(
                403,
                f"Host is {shown(host)}: this server answers to localhost and 127.0.0.1",
                code="wrong_host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise ApiError(
                403, f"Origin is {shown(origin)}: pages of other sites may not ask", code="origin"
            )
        if self._key is not None and path not in _OPEN:
            _check_key(headers.get("authorization", ""), self._key)


def _name(host: str) -> str:
    """Return the host of ``host:port``; an IPv6 address stands in brackets."""
    name, colon, port = host.lower().rpartition(":")
    if not colon or not port.isdecimal():
        name = host.lower()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _check_key(authorization: str, key: bytes) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key):
        return
    what = "wrong API key" if given else "no API key"
    raise ApiError(
        401,
        f"{what}: send the header 'Authorization: Bearer KEY'",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )
