"""MetaSchedule's view of a schedule: a trace that samples a rule's decisions.

A workload is the plain definition of an operator. Its design space samples each decision that the
rule leaves open (`schedules.space_of`) and notes it on the root block; the kernel itself is written
by the rule when a candidate is built. Traces, databases and cost models are MetaSchedule's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np

import schedules
from schedules.base import Decisions, Space
from tvm_c4n._tvm import IRModule, tvm
from tvm_c4n.ops import c4n_linear, conv1d, selective_scan
from tvm_c4n.ops.attrs import PREFIX
from tvm_c4n.ops.isa import FAMILIES, Isa
from tvm_c4n.ops.spec import ConvSpec, LinearSpec, OpSpec, ScanSpec, spec_of
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.worker import ENTRY

_DEFINITIONS: dict[type[OpSpec], Callable[[Any], Any]] = {
    LinearSpec: c4n_linear.define,
    ScanSpec: selective_scan.define,
    ConvSpec: conv1d.define,
}
"""Of the operators whose rules leave decisions open."""
_SIZES = ("rows", "cols", "channels", "state", "width", "removed", "lanes", "dynamic")
_DECISIONS = ("tiles", "ahead", "tokens", "vectors")
_BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}


def workload(spec: OpSpec) -> IRModule:
    """Return the module that stands for an operator in databases: its plain definition."""
    func = _DEFINITIONS[type(spec)](spec).with_attr("global_symbol", ENTRY)
    return IRModule({ENTRY: func})


def spec_of_workload(mod: IRModule) -> OpSpec:
    """Return the operator that a workload stands for."""
    spec = spec_of(mod[ENTRY])
    assert spec is not None  # noqa: S101 - the definition carries it
    return spec


def candidates(mod: IRModule, space: Space) -> list[tuple[dict[str, int], Any]]:
    """Return all points of a space, each with the schedule whose trace decides for it.

    The first is the default.
    """
    names = list(space)
    found = []
    for choice in product(*(range(len(space[name])) for name in names)):
        schedule = tvm.s_tir.Schedule(mod)
        root = schedule.get_sblock("root")
        decided = {}
        for name, index in zip(names, choice, strict=True):
            count = len(space[name])
            sampled = schedule.sample_categorical(list(space[name]), [1 / count] * count, index)
            schedule.annotate(root, PREFIX + name, sampled)
            decided[name] = space[name][index]
        found.append((decided, schedule))
    return found


def decisions_of(schedule: Any) -> dict[str, int]:
    """Read what a schedule of `candidates`, or one that replays its trace, decides."""
    notes = schedule.get(schedule.get_sblock("root")).annotations
    return {
        str(key).removeprefix(PREFIX): int(value)
        for key, value in notes.items()
        if str(key).startswith(PREFIX)
    }


def isa_named(name: str) -> Isa:
    """Return the instruction set of that name."""
    return next(isa for isa in FAMILIES if isa.name == name)


def features(spec: OpSpec, decisions: Decisions) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Describe a candidate to the cost model: one row, shared by tasks of different sizes.

    MetaSchedule's own features count loops and stores of a schedule's blocks, which are the plain
    definition's here, the same for all candidates.
    """
    sizes = asdict(spec)
    numbers = [float(sizes.get(name, 0)) for name in _SIZES]
    bits = float(_BITS.get(str(sizes.get("dtype")), 32))
    decided = [float(decisions.get(name, -1)) for name in _DECISIONS]
    work = np.log2(max(1.0, numbers[0] * numbers[1], numbers[2] * numbers[3]))
    row = [*numbers, bits, *decided, work]
    return np.array([row], np.float32)


@ms.derived_object
class DecisionFeatures(ms.feature_extractor.PyFeatureExtractor):  # type: ignore[misc]
    """`features` as MetaSchedule's cost models take them."""

    def extract_from(self, _context: Any, found: list[Any]) -> list[Any]:
        """Return one tensor of shape (1, features) for each measure candidate."""
        return [
            tvm.runtime.tensor(features(spec_of_workload(c.sch.mod), decisions_of(c.sch)))
            for c in found
        ]


def rule_kernel(spec: OpSpec, isa: Isa, decisions: Decisions) -> Any:
    """Return the kernel that the rule writes with these decisions."""
    answer = schedules.choose(spec, isa, lambda _: decisions)
    assert answer is not None  # noqa: S101 - the space came from a rule
    return answer[1]
