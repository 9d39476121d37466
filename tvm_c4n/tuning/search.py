"""A task while it is tuned: what was measured, what was not, and what comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tvm_c4n._tvm import Target
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.space import candidates, workload
from tvm_c4n.tuning.tasks import Task

Candidate: TypeAlias = tuple[dict[str, int], Any]
"""Decisions, and the schedule whose trace makes them."""
Frozen: TypeAlias = tuple[tuple[str, int], ...]


def frozen(decisions: Mapping[str, int]) -> Frozen:
    """Return decisions as a key of dictionaries."""
    return tuple(sorted(decisions.items()))


@dataclass
class Search:
    """A task with the candidates that were not measured yet.

    Attributes
    ----------
    task : Task
    context : tvm.s_tir.meta_schedule.TuneContext
        What MetaSchedule's cost model knows the task by.
    workload : tvm.s_tir.meta_schedule.database.Workload
    todo : list of Candidate
    times : dict
        Seconds of each candidate that ran.
    failed : set
        Candidates that did not run once; the second time is the last one.
    """

    task: Task
    context: Any
    workload: Any
    todo: list[Candidate]
    times: dict[Frozen, float]
    failed: set[Frozen] = field(default_factory=set)

    @classmethod
    def of(cls, task: Task, target: Target, database: Any, times: Mapping[Frozen, float]) -> Search:
        """Return the search of a task, going on from the times that a database has."""
        mod = workload(task.spec)
        context = ms.TuneContext(mod, target=target, task_name=str(task), num_threads=1)
        todo = [
            (decided, schedule)
            for decided, schedule in candidates(mod, task.space)
            if frozen(decided) not in times
        ]
        return cls(task, context, database.commit_workload(mod), todo, dict(times))

    def default(self) -> Frozen:
        """Return the default decisions."""
        return frozen({name: choices[0] for name, choices in self.task.space.items()})

    def default_waits(self) -> bool:
        """Return whether the default is the next one to be measured."""
        return bool(self.todo) and frozen(self.todo[0][0]) == self.default()

    def gain(self) -> float:
        """Return what the task costs a model, less the more of it was measured."""
        if not self.todo:
            return 0.0
        if not self.times or self.default_waits():
            return float("inf")
        seconds = min(self.times.values()) * self.task.calls
        return seconds * len(self.todo) / (len(self.todo) + len(self.times)) ** 2

    def again(self, decided: dict[str, int], schedule: Any) -> None:
        """Put a candidate that did not run back, once: it may have been the device.

        The default goes to the front: nothing can be chosen before its time is known.
        """
        key = frozen(decided)
        if key in self.failed:
            return
        self.failed.add(key)
        place = 0 if key == self.default() else len(self.todo)
        self.todo.insert(place, (decided, schedule))
