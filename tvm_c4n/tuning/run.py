"""`tune`: measure candidates of a model's operators on a device, and keep the best decisions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tvm_c4n._tvm import IRModule, Target
from tvm_c4n.compile.records import (
    Best,
    RecordsManifest,
    machine_of,
    write_best,
    write_manifest,
)
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.tuning.confirm import fight
from tvm_c4n.tuning.database import best_of, measured, open_database
from tvm_c4n.tuning.duels import Duels, next_duel
from tvm_c4n.tuning.measure import COLD_BYTES
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.meter import Meter, last_line
from tvm_c4n.tuning.search import Candidate, Search, frozen
from tvm_c4n.tuning.space import DecisionFeatures
from tvm_c4n.tuning.tasks import Task, tasks_of

_GIVE_UP_AFTER = 3
"""Batches of which no candidate ran."""

Progress = Callable[["State"], None]


@dataclass
class State:
    """How far a tuning is.

    Attributes
    ----------
    trials, total : int
        Candidates measured in this run, and to be measured; one that did not run is tried twice.
    failed : int
        Of them those that did not run.
    best : dict
        By task: seconds of the best candidate, and of the default (None: not measured yet).
    error : str
        Of the last candidate that failed.
    confirming : str
        The task whose best candidate is measured against the default, when all trials are done.
    """

    trials: int = 0
    total: int = 0
    failed: int = 0
    best: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    error: str = ""
    confirming: str = ""


def tune(
    model: IRModule | str | Path,
    target: str | Target = "host",
    *,
    runner: Any,
    records: Path,
    trials: int = 64,
    threads: int = 1,
    batch: int = 8,
    emulated: bool = False,
    confirm: bool = True,
    cold_bytes: int = COLD_BYTES,
    batch_secs: float = 600,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Best]:
    """Tune a model's operators; goes on from the records that are there.

    The first candidate of a task is its default. The others are chosen by MetaSchedule's xgboost
    model among those that were not measured, a quarter of them at random. At the end the fastest
    one of each task is measured against the default in turns (`tvm_c4n.tuning.duels`), and only
    then becomes a decision.

    Parameters
    ----------
    model : IRModule, str or Path
        A Relax module, or a folder that `compile_model` takes.
    target : str or tvm.target.Target
    runner : tvm.s_tir.meta_schedule.runner.Runner
        For example of `tvm_c4n.tuning.device`; any runner of MetaSchedule.
    records : Path
        Folder that gets the records after each batch.
    trials : int
        Candidates to measure in this run at most.
    threads : int
        Of the device's pool, for the manifest: the runner sets them.
    batch : int
        Candidates built and measured together: what a killed run loses at most.
    emulated : bool
        The device is an emulator; its records are never chosen by themselves.
    confirm : bool
        Else a later run has to: until then the defaults are the decisions.
    cold_bytes : int
        Weights that a one-token kernel goes round while it is measured.
    batch_secs : float
        A batch that takes longer counts as failed: the device is gone.
    seed : int
        Of the random candidates.
    progress : callable, optional
        Called with the `State` after each batch, and after each pair of the end.

    Returns
    -------
    list of Best
        Also written to ``best.json``.

    Raises
    ------
    TuneError
        Nothing to tune, records of another machine, or a device that runs nothing.
    """
    resolved = resolve_target(target)
    if trials < 1 or batch < 1:
        raise TuneError(f"trials is {trials} and batch {batch}; both must be 1 or more")
    write_manifest(
        records,
        RecordsManifest(target=machine_of(resolved), threads=threads, emulated=emulated),
    )
    tasks = tasks_of(model, resolved)
    if not tasks:
        raise TuneError("nothing to tune: no operator of this model leaves a decision open")
    meter = Meter(resolved, runner, cold_bytes, batch_secs)
    tuner = _Tuner(meter, records, tasks, seed)
    tell = progress or (lambda _: None)
    state = tuner.run(trials, batch, tell)
    return tuner.confirm(state, tell) if confirm else tuner.write_best()


class _Tuner:
    """The loop of `tune`."""

    def __init__(self, meter: Meter, records: Path, tasks: list[Task], seed: int) -> None:
        self.meter, self.records, self.isa = meter, records, isa_of(meter.target)
        self.database, self.duels = open_database(records), Duels(records)
        self.random = random.Random(seed)  # noqa: S311 - chooses candidates, no secrets
        self.model = ms.cost_model.XGBModel(
            extractor=DecisionFeatures(), num_warmup_samples=16, num_tuning_cores=1
        )
        self.known = measured(self.database)
        self.searches = [
            Search.of(task, meter.target, self.database, self.known.get(task.spec, {}))
            for task in tasks
        ]

    def run(self, trials: int, batch: int, progress: Progress) -> State:
        """Measure until trials or candidates are used up."""
        state, dead = State(total=min(trials, self._left())), 0
        self.write_best()
        self._note(state)
        while state.trials < state.total:
            search = max(self.searches, key=Search.gain)
            chosen = self._choose(search, min(batch, state.total - state.trials))
            results = self.meter.measure(search.task.spec, [decided for decided, _ in chosen])
            good = self._commit(search, chosen, results)
            errors = [last_line(r) for r in results if r.error_msg]
            state.trials += len(chosen)
            state.failed += len(chosen) - good
            state.total = min(trials, state.trials + self._left())
            state.error = errors[-1] if errors else state.error
            self._note(state)
            self.write_best()
            progress(state)
            dead = 0 if good else dead + 1
            if dead == _GIVE_UP_AFTER:
                raise TuneError(
                    f"no candidate of {dead} batches ran ({state.error}): look after the device, "
                    f"then run again; the records in {self.records} are kept"
                )
        return state

    def confirm(self, state: State, progress: Progress) -> list[Best]:
        """Measure the fastest candidate of each task against the default, leg by leg in turns."""
        going = True
        while going:
            going = False
            for search in self.searches:
                spec, default = search.task.spec, search.default()
                candidate = next_duel(search.times, default, self.duels.of(spec, default))
                if candidate is None:
                    continue
                state.confirming, going = str(search.task), True
                fight(self.meter, self.duels, spec, candidate, default, lambda: progress(state))
                self.write_best()
        return self.write_best()

    def write_best(self) -> list[Best]:
        """Write what compiling takes: a run that is killed leaves it behind too."""
        found = {**self.known, **{s.task.spec: s.times for s in self.searches if s.times}}
        best = best_of(found, self.isa, self.duels)
        write_best(self.records, best)
        return best

    def _left(self) -> int:
        return sum(len(search.todo) for search in self.searches)

    def _choose(self, search: Search, count: int) -> list[Candidate]:
        """Take candidates off the list: the default first, then the model's, some at random."""
        head = [search.todo.pop(0)] if search.default_waits() else []
        rest = search.todo
        wanted = min(count - len(head), len(rest))
        if wanted <= 0:
            return head
        found = [ms.search_strategy.MeasureCandidate(schedule, []) for _, schedule in rest]
        scores = np.asarray(self.model.predict(search.context, found))
        order = [int(i) for i in np.argsort(-scores)]
        lucky = set(self.random.sample(order, wanted // 4))
        picked = [*lucky, *(i for i in order if i not in lucky)][:wanted]
        chosen = [rest[i] for i in picked]
        search.todo = [item for i, item in enumerate(rest) if i not in set(picked)]
        return head + chosen

    def _commit(self, search: Search, chosen: list[Candidate], results: list[Any]) -> int:
        """Write the records of a batch and teach the model; returns how many ran."""
        found, good = [], 0
        for (decided, schedule), result in zip(chosen, results, strict=True):
            found.append(ms.search_strategy.MeasureCandidate(schedule, []))
            if not result.run_secs:
                search.again(decided, schedule)
                continue
            good += 1
            seconds = [float(s) for s in result.run_secs]
            search.times[frozen(decided)] = median(seconds)
            record = ms.database.TuningRecord(
                schedule.trace, search.workload, seconds, self.meter.target, []
            )
            self.database.commit_tuning_record(record)
        self.model.update(search.context, found, results)
        return good

    def _note(self, state: State) -> None:
        for search in self.searches:
            if not search.times:
                continue
            default = search.times.get(search.default())
            state.best[str(search.task)] = (min(search.times.values()), default)
