"""Spoils a file: chooses among the mutations that its kind allows."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.attacks.fuzz.of_bytes import CONTENT, PLACES, Mutation
from tests.attacks.fuzz.of_json import (
    json_edited,
    line_edited,
    lines_moved,
    packed_edited,
    yaml_edited,
)
from tests.attacks.fuzz.of_tensors import mutations_of_tensors

# How often the mutations that know the format are taken, where there are such.
_KNOWING = 0.6
_PLACES = 0.15


def mutations_of(path: Path) -> tuple[Mutation, ...]:
    """Return the mutations that know the format of a file; () for unknown formats."""
    if path.suffix == ".safetensors":
        return mutations_of_tensors(path)
    if path.name == "database_workload.json":
        return (packed_edited, packed_edited, line_edited, lines_moved)
    if path.suffix == ".jsonl" or path.name.startswith("database_"):
        return (line_edited, line_edited, lines_moved)
    if path.suffix == ".yaml":
        return (yaml_edited, yaml_edited, lines_moved)
    return (json_edited,) if path.suffix == ".json" else ()


def spoil(path: Path, random: Random) -> str:
    """Mutate a file at random; returns the name of what was done."""
    knowing = mutations_of(path)
    chance = random.random()
    if chance < _PLACES:
        mutation = random.choice(PLACES)
    elif knowing and chance < _PLACES + _KNOWING:
        mutation = random.choice(knowing)
    else:
        mutation = random.choice(CONTENT)
    mutation(path, random)
    return mutation.__name__
