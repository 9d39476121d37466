"""A task while it is tuned: which candidates were timed, and which come next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tvm_c4n._tvm import Target
from tvm_c4n.tuning.metaschedule import candidates, ms, tune_context, workload
from tvm_c4n.tuning.tasks import DecisionKey, Task, decision_key

# Decisions, and the schedule whose trace makes them.
Candidate: TypeAlias = tuple[dict[str, int], Any]


@dataclass
class Search:
    """A task and its candidates.

    Attributes
    ----------
    task : Task
    context : tvm.s_tir.meta_schedule.TuneContext
        By this MetaSchedule's cost model knows the task.
    workload : tvm.s_tir.meta_schedule.database.Workload
    untried : list of Candidate
        Candidates to be timed yet.
    times : dict
        Seconds of each candidate that ran.
    failed : set
        Candidates that did not run once; after the second time they are given up.
    """

    task: Task
    context: Any
    workload: Any
    untried: list[Candidate]
    times: dict[DecisionKey, float]
    failed: set[DecisionKey] = field(default_factory=set)

    @classmethod
    def of(cls, task: Task, target: Target, times: Mapping[DecisionKey, float]) -> Search:
        """Return the search of a task, resumed from the times that are known."""
        mod = workload(task.spec)
        untried = [
            (decisions, schedule)
            for decisions, schedule in candidates(mod, task.space)
            if decision_key(decisions) not in times
        ]
        context = tune_context(mod, target, str(task))
        return cls(task, context, ms.database.Workload(mod), untried, dict(times))

    def default_is_next(self) -> bool:
        """Return whether the default is the candidate to be timed next."""
        return bool(self.untried) and decision_key(self.untried[0][0]) == self.task.default

    def priority(self) -> float:
        """Return what the task costs a model, less the more of its candidates were timed."""
        if not self.untried:
            return 0.0
        if not self.times or self.default_is_next():
            return float("inf")
        seconds = min(self.times.values()) * self.task.calls
        return seconds * len(self.untried) / (len(self.untried) + len(self.times)) ** 2

    def requeue(self, decisions: dict[str, int], schedule: Any) -> None:
        """Put a candidate that did not run back, once: the fault may have been the device's.

        The default goes to the front: nothing can be chosen before its time is known.
        """
        key = decision_key(decisions)
        if key in self.failed:
            return
        self.failed.add(key)
        place = 0 if key == self.task.default else len(self.untried)
        self.untried.insert(place, (decisions, schedule))
