"""YAML of strangers: what JSON can say, bounded like it, or refused in one line.

Words without quotes are those of YAML 1.2's core schema: ``no`` is a word and ``010`` is ten. Tags,
which name types, and aliases, which make a short file large, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from tvm_c4n.checkpoint.json_reading import MAX_DEPTH, check_characters
from tvm_c4n.checkpoint.reading import read_text, stand_in
from tvm_c4n.errors import C4nError, CheckpointError, shown

# PyYAML reads some 100 kB/s.
MAX_YAML_BYTES = 1 << 18
# What a word without quotes may be, beside a string.
_CORE: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda word: word.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
)


def read_yaml(path: Path, remedy: str, error: type[C4nError] = CheckpointError) -> dict[str, Any]:
    """Read a YAML mapping from a small file; raises as `read_text` and `parse_yaml` do."""
    text = read_text(path, MAX_YAML_BYTES, remedy, error)
    if found := stand_in(text[:100].encode()):
        raise error(f"{path}: {found}")
    return parse_yaml(text, str(path), remedy, error)


def parse_yaml(
    text: str, where: str, remedy: str, error: type[C4nError] = CheckpointError
) -> dict[str, Any]:
    """Parse a YAML mapping strictly: words as keys, none twice, finite numbers, of bounded depth.

    Raises
    ------
    error
        Naming ``where``, the line and the cause.
    """
    try:
        node = yaml.compose(text, _Loader)
        value = None if node is None else _value(node)
        check_characters(value)
    except RecursionError as cause:
        raise error(f"{where}: YAML is nested too deeply; {remedy}") from cause
    except (yaml.YAMLError, ValueError) as cause:
        raise error(f"{where}: not valid YAML ({_reason(cause)}); {remedy}") from cause
    if not isinstance(value, dict):
        raise error(f"{where}: YAML is not a mapping; {remedy}")
    return value


class _Loader(yaml.SafeLoader):
    """Composes nodes, of which `_value` makes values; none of PyYAML's constructors is called."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node without tags and aliases."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            what = "an alias" if isinstance(event, yaml.AliasEvent) else "a tag"
            raise _error(f"{what} is not allowed here", event.start_mark)
        if self.depth > MAX_DEPTH:
            raise RecursionError
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(one) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if isinstance(node, yaml.ScalarNode) and node.style is not None:  # in quotes
        return node.value
    for pattern, convert in _CORE:
        if pattern.fullmatch(node.value):
            try:
                value = convert(node.value)
            except ValueError:  # more digits than Python reads
                value = float("inf")
            if isinstance(value, float) and not isfinite(value):
                raise _error(f"{shown(node.value)} is too large a number", node.start_mark)
            return value
    return node.value


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = _value(key)
        if not isinstance(name, str):
            raise _error("a key is no word", key.start_mark)
        if name in found:
            raise _error(f"duplicate key {shown(name)}", key.start_mark)
        found[name] = _value(value)
    return found


def _error(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _reason(error: Exception) -> str:
    """Say where and what, in PyYAML's words without its picture of the line."""
    parts = (getattr(error, name, None) for name in ("context", "problem", "reason"))
    said = ", ".join(str(part) for part in parts if part) or str(error)
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {said}" if mark else said
