"""Fields of a request that this server does not have: which are refused, and which do no harm."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tvm_c4n.errors import shown
from tvm_c4n.server.api_error import ApiError, refused

# They change what a client gets. By name: the values that ask for nothing.
_NOT_HERE: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "grammar": ("",),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "web_search_options": (),
}
# They say who asks, or how a service bills, stores or hurries.
_HARMLESS = frozenset(
    {
        "cache_prompt",
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)


def known_fields(body: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a request that mean something here; null stands for none.

    Parameters
    ----------
    body : mapping
    names : frozenset of str
        The fields that the request may have.

    Raises
    ------
    ApiError
        A field that asks for what is not here, or one that nobody knows.
    """
    found = {}
    for name, value in body.items():
        if value is None or name in _HARMLESS:
            continue
        if name in names:
            found[name] = value
        elif name in _NOT_HERE:
            if not any(value == none and type(value) is not bool for none in _NOT_HERE[name]):
                raise refused(name, "this server does not have it: leave it out")
        else:
            raise _unknown(name, names)
    return found


def _unknown(name: str, names: frozenset[str]) -> ApiError:
    near = get_close_matches(name, sorted(names), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ApiError(400, f"unknown field {shown(name)}{hint}", param=name[:64])
