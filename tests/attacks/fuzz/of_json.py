"""Mutations of JSON that stays JSON, or nearly: of its keys, types, numbers and depth."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

Place = tuple[Any, Any]  # a dict and a key of it, or a list and an index
Edit = Callable[[Place, Random], None]

_STRANGERS: tuple[Any, ...] = (
    None, True, False, "", "x", "\x1b[2J\n\u2028", "\ud800", "x" * 5000, [], {}, [[]], {"": None},
    ["x"], 0, -1, 1, 2, 3.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"), 1 << 31,
    1 << 32, 1 << 63, 1 << 64, -(1 << 63), 10**400, 1e-320, "../../../etc/passwd", "/dev/zero",
    "1", "NaN", "weights.bin", "tokenizer.json",
)  # fmt: skip


def another_value(place: Place, random: Random) -> None:
    """Put a value of any type in the place of one."""
    container, key = place
    container[key] = random.choice(_STRANGERS)


def another_number(place: Place, random: Random) -> None:
    """Put another number in the place of one; other types get another of theirs."""
    container, key = place
    value = container[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        container[key] = {str: "y", list: [1], dict: {"y": 1}}.get(type(value), 7)
        return
    changes = [value + 1, value - 1, -value, 2 * value, value * (1 << 32), float(value), value / 3]
    container[key] = random.choice(changes)


def deleted(place: Place, random: Random) -> None:
    """Delete a key or an element."""
    container, key = place
    del container[key]


def doubled(place: Place, random: Random) -> None:
    """Repeat an element, or put a value under another key too."""
    container, key = place
    if isinstance(container, list):
        container.insert(key, container[key])
    else:
        container[random.choice(["format", "x", key + " ", "__metadata__"])] = container[key]


def renamed(place: Place, random: Random) -> None:
    """Change the name of a key; an element of a list goes to another place."""
    container, key = place
    value = container.pop(key)
    if isinstance(container, list):
        container.insert(random.randrange(len(container) + 1), value)
    else:
        names = [key.upper(), key + "2", "x" * 2000, "", "\x1b[2J", "../" + key]
        container[random.choice(names)] = value


def nested(place: Place, random: Random) -> None:
    """Nest a value deeply."""
    container, key = place
    for _ in range(random.choice([1, 40, 900])):
        container[key] = [container[key]]


def many(place: Place, random: Random) -> None:
    """Repeat a value many times."""
    container, key = place
    container[key] = [container[key]] * random.choice([2, 1000])


def swapped(place: Place, random: Random) -> None:
    """Exchange two values of a dict or a list."""
    container, key = place
    keys = list(container) if isinstance(container, dict) else range(len(container))
    other = random.choice(list(keys))
    container[key], container[other] = container[other], container[key]


EDITS: tuple[Edit, ...] = (
    another_value,
    another_value,
    another_number,
    another_number,
    deleted,
    doubled,
    renamed,
    nested,
    many,
    swapped,
)


def edited(value: Any, random: Random) -> Any:
    """Edit a random place of a JSON value once, rarely twice."""
    holder = [value]
    for _ in range(random.choice([1, 1, 1, 2])):
        places = list(_places(holder, skip_root=random.random() < 0.95))
        if places:
            random.choice(EDITS)(random.choice(places), random)
    return holder[0] if holder else None


def _places(holder: list[Any], skip_root: bool) -> list[Place]:
    """All places of a value; those of long lists are thinned, so that they do not outweigh."""
    found: list[Place] = [] if skip_root else [(holder, 0)]
    left = [value for value in holder[:1] if isinstance(value, dict | list)]
    while left:
        container = left.pop()
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        for key in keys[:20] + keys[20::50]:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                left.append(container[key])
    return found


def json_edited(path: Path, random: Random) -> None:
    """Edit a JSON file."""
    path.write_bytes(_bytes_of(edited(json.loads(path.read_bytes()), random)))


def yaml_edited(path: Path, random: Random) -> None:
    """Edit a YAML file; what comes out is JSON, which YAML takes."""
    path.write_bytes(_bytes_of(edited(yaml.safe_load(path.read_bytes()), random)))


def line_edited(path: Path, random: Random) -> None:
    """Edit a line of a file with one JSON value on each."""
    lines = path.read_bytes().splitlines()
    at = random.randrange(len(lines))
    lines[at] = _bytes_of(edited(json.loads(lines[at]), random))
    path.write_bytes(b"\n".join(lines) + b"\n")


def packed_edited(path: Path, random: Random) -> None:
    """Edit the JSON that a line of a workload has within, packed in base64."""
    lines = path.read_bytes().splitlines()
    at = random.randrange(len(lines))
    line = json.loads(lines[at])
    packed = b64decode(line[1])
    inner = _bytes_of(edited(json.loads(packed[8:]), random))
    line[1] = b64encode(len(inner).to_bytes(8, "little") + inner).decode()
    lines[at] = _bytes_of(line)
    path.write_bytes(b"\n".join(lines) + b"\n")


def lines_moved(path: Path, random: Random) -> None:
    """Lose, repeat or exchange lines."""
    lines = path.read_bytes().splitlines()
    at, to = random.randrange(len(lines)), random.randrange(len(lines))
    lines[at : at + random.randrange(2)] = [lines[to]]
    path.write_bytes(b"\n".join(lines) + b"\n" * random.randrange(3))


def _bytes_of(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
