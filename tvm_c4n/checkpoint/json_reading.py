"""JSON of strangers: bounded in depth, number and length of keys, or refused in one line."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tvm_c4n.checkpoint.reading import read_bytes, stand_in
from tvm_c4n.errors import C4nError, CheckpointError, shown

# The files read here are 6 levels deep at most; Python's own reader gives up at about 1000.
MAX_DEPTH = 32
MAX_KEYS = 100_000
MAX_KEY_LENGTH = 1000

_Kind = TypeVar("_Kind", bound=BaseModel)


def read_json(
    path: Path, limit_bytes: int, remedy: str, error: type[C4nError] = CheckpointError
) -> dict[str, Any]:
    """Read a JSON object from a small file; raises as `read_bytes` and `parse_json` do."""
    data = read_bytes(path, limit_bytes, remedy, error)
    if found := stand_in(data):
        raise error(f"{path}: {found}")
    return parse_json(data, str(path), remedy, error)


def read_record(
    path: Path,
    kind: type[_Kind],
    limit_bytes: int,
    remedy: str,
    error: type[C4nError] = CheckpointError,
) -> _Kind:
    """Read a JSON object whose keys and values a class describes.

    Raises
    ------
    error
        As `read_json`; a key that is missing, unknown, or has a bad value is named.
    """
    return validated(kind, read_json(path, limit_bytes, remedy, error), str(path), remedy, error)


def validated(
    kind: type[_Kind],
    value: Any,
    where: str,
    remedy: str,
    error: type[C4nError] = CheckpointError,
) -> _Kind:
    """Check a JSON value against the class that describes it; raises as `read_record` does."""
    try:
        return kind.model_validate(value)
    except ValidationError as cause:
        first = cause.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        place = shown(place)[1:-1] if place else "content"
        raise error(f"{where}: {place}: {first['msg']}; {remedy}") from cause


def parse_json(
    text: bytes | str, where: str, remedy: str, error: type[C4nError] = CheckpointError
) -> dict[str, Any]:
    """Parse a JSON object; raises as `parse_value` does, and if it is another value."""
    value = parse_value(text, where, remedy, error)
    if not isinstance(value, dict):
        raise error(f"{where}: JSON is not an object; {remedy}")
    return value


def parse_value(
    text: bytes | str, where: str, remedy: str, error: type[C4nError] = CheckpointError
) -> Any:
    """Parse JSON strictly: UTF-8, finite numbers, no key twice, of bounded depth.

    ``Infinity`` is read as the object ``{"__float__": "Infinity"}``, so it passes for no number.

    Raises
    ------
    error
        Naming ``where`` and the cause.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_finite,
        )
        _check_depth(value)
        if "\\u" in text:
            check_characters(value)
    except RecursionError as cause:
        raise error(f"{where}: JSON is nested too deeply; {remedy}") from cause
    except ValueError as cause:  # includes JSONDecodeError and UnicodeDecodeError
        said = shown(_place(cause))[1:-1]
        raise error(f"{where}: not valid JSON ({said}); {remedy}") from cause
    return value


def _place(cause: ValueError) -> str:
    """Say what is wrong, and where; `where` may name a line already, that of a JSONL file."""
    if not isinstance(cause, json.JSONDecodeError):
        return str(cause)
    line = f"line {cause.lineno}, " if "\n" in cause.doc else ""
    return f"{cause.msg}: {line}column {cause.colno}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise ValueError(f"{len(pairs)} keys, more than {MAX_KEYS}")
    result: dict[str, Any] = {}
    for key, value in pairs:
        if len(key) > MAX_KEY_LENGTH:
            raise ValueError(f"a key of {len(key)} characters, more than {MAX_KEY_LENGTH}")
        if key in result:
            raise ValueError(f"duplicate key {shown(key)}")
        result[key] = value
    return result


def _check_depth(value: Any) -> None:
    """Raise RecursionError if containers are nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(v for v in one.values() if isinstance(v, dict | list))
            elif isinstance(one, list):
                inner.extend(v for v in one if isinstance(v, dict | list))
        if not inner:
            return
        level = inner
    raise RecursionError


def check_characters(value: Any) -> None:
    """Raise ValueError for half a pair of UTF-16, which no file or terminal takes."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a character, U+{ord(error.object[error.start]):X}") from error


def _constant(name: str) -> dict[str, str]:
    """Read an infinity, which Mamba-2's configs have, as transformers 5 writes it."""
    if name != "Infinity":
        raise ValueError(f"{name} is not JSON")
    return {"__float__": name}


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError(f"{shown(digits)} is too large a number")
    return value
