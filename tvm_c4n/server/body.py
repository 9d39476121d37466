"""The body of a request: bounded in bytes and seconds, then parsed as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

from tvm_c4n.checkpoint.json_reading import parse_json
from tvm_c4n.errors import C4nError
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.limits import Limits


async def read_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ApiError
        Too long, too slow, or no JSON object.
    starlette.requests.ClientDisconnect
        The client left.
    """
    data = await _read_bytes(request, limits)
    if not data:
        raise ApiError(400, "the body is empty: send a JSON object")
    try:
        return parse_json(data, "body", "send a JSON object")
    except C4nError as error:
        raise ApiError(400, str(error)) from None


async def _read_bytes(request: Request, limits: Limits) -> bytes:
    """Read the whole body; the rest of one that is refused is not read, its connection closed."""
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said[:20]) > limits.body_bytes:
        raise _too_long(limits)
    parts, count = [], 0
    try:
        async with asyncio.timeout(limits.body_secs):
            async for part in request.stream():
                count += len(part)
                if count > limits.body_bytes:
                    raise _too_long(limits)
                parts.append(part)
    except TimeoutError:
        raise ApiError(
            408,
            f"the body took more than {limits.body_secs:g} s: send it at once",
            headers={"Connection": "close"},
        ) from None
    return b"".join(parts)


def _too_long(limits: Limits) -> ApiError:
    return ApiError(
        413,
        f"the body has more than {limits.body_bytes} bytes: shorten the prompt",
        headers={"Connection": "close"},
    )


__all__ = ["ClientDisconnect", "read_object"]
