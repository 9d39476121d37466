"""Errors as OpenAI's API has them: a status, and an object that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_c4n.errors import one_line

# `type` of the object, by status; OpenAI's names.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class ApiError(Exception):
    """What a client is told in place of an answer.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        One line: what is wrong, and what to do.
    param : str, optional
        The field of the request that is wrong.
    code : str, optional
        A word for programs.
    headers : mapping, optional
        Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(one_line(message))
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def content(self) -> dict[str, Any]:
        """Return the object."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        said = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": said}


def refused(param: str, message: str) -> ApiError:
    """Return the error of a field of the request."""
    return ApiError(400, f"{param}: {message}", param=param)


def stopping() -> ApiError:
    """Return the error of a server that takes and continues nothing more."""
    return ApiError(
        503,
        "the server is shutting down: ask again when it is back",
        code="shutting_down",
        headers={"Retry-After": "5"},
    )
