"""The kernels that a rule can write for an operator."""

from __future__ import annotations

from typing import Any

import schedules


def scheduled(machine: Any, spec: Any) -> Any:
    """The rule's PrimFunc."""
    answer = schedules.choose(spec, machine.isa)
    assert answer is not None
    return answer[1].prim_func()


def default_only(machine: Any, spec: Any) -> dict[str, Any]:
    """The rule's PrimFunc by default."""
    return {"default": scheduled(machine, spec)}


def variants(machine: Any, spec: Any) -> dict[str, Any]:
    """The rule's PrimFunc, by default and with each other candidate of each decision."""
    space = schedules.space_of(spec, machine.isa)
    default = {name: choices[0] for name, choices in space.items()}
    other = [(name, choice) for name, choices in space.items() for choice in choices[1:]]
    found = default_only(machine, spec)
    for name, choice in other:
        answer = schedules.choose(spec, machine.isa, lambda _, c={name: choice}: default | c)
        assert answer is not None
        assert f"{name}={choice}" in answer[0]
        found[f"{name}{choice}"] = answer[1].prim_func()
    return found
