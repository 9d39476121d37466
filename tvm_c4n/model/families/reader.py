"""Reads the fields of a config.json, each with its limits, and says in one line what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tvm_c4n.errors import CheckpointError, shown

# Upper limits keep a hostile config.json from asking for absurd allocations.
MAX_VOCABULARY = 1 << 22
MAX_CHANNELS = 1 << 18
MAX_LAYERS = 1024
MAX_EXPERTS = 1024
_MAX_HEADS = 1 << 12
_MAX_NUMBER = 1 << 32


class Fields:
    """The content of a config.json.

    Every method raises `CheckpointError` with the field's name where it is missing or out of range.

    Parameters
    ----------
    content : mapping
    name : str
        What messages call it.
    """

    def __init__(self, content: Mapping[str, Any], name: str = "config.json") -> None:
        self._content = content
        self._name = name

    def require(self, *names: str) -> None:
        """Refuse a config.json that lacks any of these."""
        missing = [name for name in names if self._content.get(name) is None]
        if missing:
            raise CheckpointError(f"{self._name} lacks {', '.join(missing)}")

    def get(self, name: str) -> Any:
        """Return a field as it is, None where it is missing."""
        return self._content.get(name)

    def size(self, name: str, default: int | None = None, most: int = MAX_CHANNELS) -> int:
        """Return a positive whole number of at most `most`."""
        value = self._content.get(name)
        if value is None:
            value = default
        if value is None:
            self.require(name)
        if type(value) is not int:
            self._refuse(name, "is not a whole number")
        if not 0 < value <= most:
            self._refuse(name, f"is not in 1..{most}")
        return int(value)

    def multiple(
        self, name: str, default: int | None, of: str, of_default: int | None
    ) -> tuple[int, int]:
        """Return how many heads there are and how many groups of them: the field `of`.

        If neither the file nor `of_default` says it, each head is a group.
        """
        heads = self.size(name, default, most=_MAX_HEADS)
        groups = self.size(of, of_default or heads, most=_MAX_HEADS)
        if heads % groups:
            raise CheckpointError(f"{self._name}: {name}={heads} is no multiple of {of}={groups}")
        return heads, groups

    def number(self, name: str, default: float | None = None) -> float:
        """Return a positive number that others are computed from."""
        value = self._content.get(name, default)
        if type(value) not in (int, float) or not 0 < value <= _MAX_NUMBER:
            self._refuse(name, "is not a positive number", value)
        return float(value)

    def eps(self, *names: str, default: float) -> float:
        """Return what is added to a mean square; the first of several names counts."""
        name = next((n for n in names if self._content.get(n) is not None), names[0])
        value = self._content.get(name, default)
        if type(value) is not float or not 0 < value < 1:
            self._refuse(name, "is not between 0 and 1", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a truth value."""
        value = self._content.get(name, default)
        if type(value) is not bool:
            self._refuse(name, "is not true or false")
        return value

    def only(self, name: str, allowed: Sequence[Any], default: Any) -> None:
        """Refuse all values but these."""
        value = self._content.get(name, default)
        if value not in allowed:
            known = " or ".join(repr(v) for v in allowed)
            raise CheckpointError(f"{name} is {shown(value)}; only {known} is supported")

    def _refuse(self, name: str, why: str, value: Any = None) -> NoReturn:
        found = self._content.get(name) if value is None else value
        raise CheckpointError(f"{self._name}: {name}={shown(found)}: {why}")
