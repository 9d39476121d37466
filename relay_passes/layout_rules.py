"""What becomes of a layout op, by the class of the kernel before or after it, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from relay_passes.analysis import Kind
from tvm_c4n._tvm import GlobalVar


class Action(Enum):
    """What `EliminateLayout` does with a pair of calls, of which one is a layout op."""

    INTO_CONSUMER = "into consumer"
    INTO_PRODUCER = "into producer"
    LOOK_THROUGH = "look through"
    KEEP = "keep"


@dataclass(frozen=True)
class Rule:
    """An action, and the reason in words."""

    action: Action
    why: str


# By the classes of producer and consumer.
RULES: dict[tuple[Kind, Kind], Rule] = {
    (Kind.LAYOUT, Kind.LAYOUT): Rule(Action.INTO_CONSUMER, "one layout op: indices are composed"),
    (Kind.LAYOUT, Kind.VIEW): Rule(Action.LOOK_THROUGH, "a view's consumers are the layout op's"),
    (Kind.LAYOUT, Kind.FREE): Rule(Action.INTO_CONSUMER, "reads by index, if that is not slower"),
    (Kind.LAYOUT, Kind.FIXED): Rule(Action.KEEP, "reads its operands in one order only"),
    (Kind.VIEW, Kind.LAYOUT): Rule(Action.LOOK_THROUGH, "a view's producer is the layout op's"),
    (Kind.FREE, Kind.LAYOUT): Rule(Action.INTO_PRODUCER, "writes by index, if it can"),
    (Kind.FIXED, Kind.LAYOUT): Rule(Action.KEEP, "writes its result in one order only"),
}


def rules_table() -> str:
    """Return `RULES` as the table in the docstring of `relay_passes.eliminate_layout`."""
    rows = [
        (f"{producer.name} -> {consumer.name}", rule.action.value, rule.why)
        for (producer, consumer), rule in RULES.items()
    ]
    head = ("producer -> consumer", "action", "because")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(3)]
    bar = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([bar, lines[0], bar, *lines[1:], bar])


@dataclass(frozen=True)
class Fused:
    """Other kernels do a layout op's work by index; they are named as they were before."""

    into: tuple[GlobalVar, ...]


@dataclass(frozen=True)
class Kept:
    """A layout op stays, for a reason that completes ``it stays: ...``."""

    reason: str


Outcome: TypeAlias = Fused | Kept
