"""Our operators as MetaSchedule sees them: workloads, traces that sample decisions, features.

A workload is the plain definition of an operator. Its design space samples each decision that the
schedule rule leaves open (`schedules.space_of`) and notes it on the root block; the kernel itself
is emitted by the rule when a candidate is built. Traces, databases, runners and cost models are
MetaSchedule's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from schedules.base import current_names
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.extras import require
from tvm_c4n.ops import c4n_linear, conv1d, delta_rule, selective_scan, ssd_scan
from tvm_c4n.ops.attrs import PREFIX
from tvm_c4n.ops.spec import ConvSpec, DeltaSpec, LinearSpec, OpSpec, ScanSpec, SsdSpec, spec_of
from tvm_c4n.sparsity import INT_BITS, STORED_DTYPES
from tvm_c4n.tuning.harness import ENTRY

if TYPE_CHECKING:
    from schedules.base import Decisions, Space

require("tune", "tuning")  # MetaSchedule itself imports some of it only when it is in full swing

from tvm.ir.utils import derived_object  # noqa: E402
from tvm.s_tir import meta_schedule  # noqa: E402

ms = meta_schedule
# The operators whose rules leave decisions open.
_DEFINITIONS: dict[type[OpSpec], Callable[[Any], Any]] = {
    LinearSpec: c4n_linear.define,
    ScanSpec: selective_scan.define,
    SsdSpec: ssd_scan.define,
    DeltaSpec: delta_rule.define,
    ConvSpec: conv1d.define,
}
_SIZES = ("rows", "cols", "channels", "state", "width", "removed", "lanes", "dynamic")
_DECISIONS = ("panels", "prefetch_distance", "tokens", "vectors")
_BITS = {n: INT_BITS.get(n, 8 * np.dtype(t).itemsize) for n, t in STORED_DTYPES.items()}


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

    The first one is the default.
    """
    names = list(space)
    found = []
    for choice in product(*(range(len(space[name])) for name in names)):
        schedule = tvm.s_tir.Schedule(mod)
        root = schedule.get_sblock("root")
        decisions = {}
        for name, index in zip(names, choice, strict=True):
            count = len(space[name])
            sampled = schedule.sample_categorical(list(space[name]), [1 / count] * count, index)
            schedule.annotate(root, PREFIX + name, sampled)
            decisions[name] = space[name][index]
        found.append((decisions, schedule))
    return found


def decisions_of(schedule: Any) -> dict[str, int]:
    """Read what a schedule of `candidates`, or one that replays its trace, decides."""
    notes = schedule.get(schedule.get_sblock("root")).annotations
    found = {
        str(key).removeprefix(PREFIX): int(value)
        for key, value in notes.items()
        if str(key).startswith(PREFIX)
    }
    return current_names(found)


def tune_context(mod: IRModule, target: Target, name: str) -> Any:
    """Return the context by which MetaSchedule's cost model knows a task."""
    with _without_intrinsics():
        return ms.TuneContext(mod, target=target, task_name=name, num_threads=1)


@contextmanager
def _without_intrinsics() -> Iterator[None]:
    """Keep the first context from importing TVM's intrinsics of tensor units.

    None of our kernels uses them, and to parse them takes 8 s and more.
    """
    name = "tvm.s_tir.tensor_intrin"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


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


@derived_object
class DecisionFeatures(meta_schedule.feature_extractor.PyFeatureExtractor):  # type: ignore[misc]
    """`features` as MetaSchedule's cost models take them."""

    def extract_from(self, _context: Any, found: list[Any]) -> list[Any]:
        """Return one tensor of shape (1, features) for each measure candidate."""
        return [
            tvm.runtime.tensor(features(spec_of_workload(c.sch.mod), decisions_of(c.sch)))
            for c in found
        ]
