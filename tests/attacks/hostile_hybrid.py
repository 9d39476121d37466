"""Artifacts of a model with attention that are not what they seem: dtypes of states, and its limit.

As in `hostile_artifact`: each function spoils a good one, says in its docstring what the attack is,
and returns what the errors of both runtimes must contain. The good artifact has six states; the
rings 3 and 4 hold 64 tokens in float16, and 5, the position, is int32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attack = Callable[[Path], str]
ATTACKS: list[Attack] = []


def spoil(name: str, doc: str, said: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Add an attack that changes the manifest."""

    def attack(folder: Path) -> str:
        file = folder / "manifest.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return said

    attack.__name__, attack.__doc__ = name, doc
    ATTACKS.append(attack)


def dtypes(name: str, doc: str, found: Any) -> None:
    """Add an attack on the dtypes of the states."""
    spoil(f"dtypes_{name}", doc, "state_dtypes", lambda m: m.update(state_dtypes=found))


def context(name: str, doc: str, found: Any) -> None:
    """Add an attack on the tokens of the longest text."""
    spoil(f"context_{name}", doc, "context", lambda m: m.update(context=found))


REAL, HALF, COUNT = "float32", "uint16", "int32"
GOOD = [REAL, REAL, REAL, HALF, HALF, COUNT]
dtypes("too_few", "The position has none.", GOOD[:5])
dtypes("too_many", "One for a state that is not there.", [*GOOD, REAL])
dtypes("unknown", "A dtype that no state has.", [*GOOD[:5], "float64"])
dtypes("of_objects", "A dtype of pointers.", ["object"] * 6)
dtypes("of_numbers", "A number, not a name.", [*GOOD[:5], 32])
dtypes("no_list", "A name for all.", REAL)
dtypes("null", "No list at all.", None)

context("beyond_the_ring", "A text longer than what keys and values have room for.", 128)
context("below_the_ring", "A text that would end too early.", 63)
context("of_nothing", "No room for any token.", 0)
context("negative", "Less than none.", -64)
context("without_end", "More than 64 bits could count.", 1 << 62)
context("true", "True is no number.", True)
context("a_float", "64.0 is a float, and no count.", 64.0)
context("a_text", "Nor is a text.", "64")
context("null", "No limit, though the ring has one.", None)
spoil("context_missing", "The field is not there.", "context", lambda m: m.pop("context"))

# The kernel counts tokens in an int32.
spoil(
    "position_of_floats",
    "An integer that is read from the bits of a float.",
    "dtype",
    lambda m: m["state_dtypes"].__setitem__(5, REAL),
)
spoil(
    "scan_of_integers",
    "Sums in integers.",
    "dtype",
    lambda m: m["state_dtypes"].__setitem__(2, COUNT),
)


spoil(
    "ring_of_floats",
    "Keys of 4 bytes where the kernel reads 2.",
    "dtype",
    lambda m: m["state_dtypes"].__setitem__(3, REAL),
)
spoil(
    "scan_of_halves",
    "A scan state of 2 bytes where the kernel reads 4.",
    "dtype",
    lambda m: m["state_dtypes"].__setitem__(2, HALF),
)


def _larger(m: dict[str, Any]) -> None:
    m["config"]["max_position_embeddings"] = m["context"] = 128
    m["states"][3][2] = m["states"][4][2] = 2


spoil(
    "ring_of_another_size",
    "Config, context and states agree, and the kernels were made for a smaller ring.",
    "shape",
    _larger,
)


def _one_ring(m: dict[str, Any]) -> None:
    m["states"][3][2] = 1 << 20


spoil(
    "keys_of_another_size",
    "Keys that have room for more tokens than values: gigabytes of zeros.",
    "states ",
    _one_ring,
)
