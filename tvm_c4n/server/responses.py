"""Responses with JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from tvm_c4n.server.api_error import ApiError


def to_json(value: Any) -> bytes:
    """Write JSON without spaces; what came from tokens may hold half characters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def json_response(value: Any, status: int = 200) -> Response:
    """Make a response of a JSON value."""
    return Response(to_json(value), status, media_type="application/json")


def error_response(error: ApiError) -> Response:
    """Make the response of an error."""
    response = json_response(error.content(), error.status)
    response.headers.update(error.headers)
    return response
