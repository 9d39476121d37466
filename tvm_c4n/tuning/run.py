"""`tune`: time candidates of a model's operators on a device, and keep the best decisions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
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
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.progress import Progress
from tvm_c4n.tuning.comparison import (
    PAIRS_PER_SESSION,
    Comparisons,
    measure_pairs,
    next_candidate,
)
from tvm_c4n.tuning.database import Database, best_decisions, load_measurements
from tvm_c4n.tuning.harness import COLD_BYTES
from tvm_c4n.tuning.measurer import Measurer, error_line
from tvm_c4n.tuning.metaschedule import DecisionFeatures, ms
from tvm_c4n.tuning.search import Candidate, Search
from tvm_c4n.tuning.tasks import DecisionKey, Task, decision_key, tasks_of

# Tuning gives up after three batches in a row of which no candidate ran.
MAX_DEAD_BATCHES = 3
# The part of a batch that is chosen at random, not by the cost model.
RANDOM_SHARE = 0.25


def tune(
    model: IRModule | str | Path,
    target: str | Target = "host",
    *,
    runner: Any,
    records: str | Path,
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
    """Tune a model's operators; resumes from the records that are there.

    The first candidate of a task is its default. The others are chosen by MetaSchedule's xgboost
    model among those that were not timed yet, a quarter of them at random. At the end the fastest
    one of each task is compared with the default in pairs (`tvm_c4n.tuning.comparison`), and only
    then becomes a decision.

    Parameters
    ----------
    model : IRModule, str or Path
        A Relax module, or a folder that `compile_model` takes.
    target : str or tvm.target.Target
    runner : tvm.s_tir.meta_schedule.runner.Runner
        For example one of `tvm_c4n.tuning.runners`; any runner of MetaSchedule.
    records : path
        Folder that gets the records after each batch.
    trials : int
        The most candidates to time in this run. One that did not run is tried twice.
    threads : int
        Threads of the device's pool, for the manifest: the runner sets them.
    batch : int
        Candidates built and timed together: the most that a killed run loses.
    emulated : bool
        The device is an emulator; its records are never chosen by themselves.
    confirm : bool
        Compare with the default at the end. Otherwise the defaults stay the decisions until a later
        run compares.
    cold_bytes : int
        Bytes of weights that a one-token kernel cycles through while it is timed.
    batch_secs : float
        A batch that takes longer counts as failed: the device is gone.
    seed : int
        Seed of the random candidates.
    progress : callable, optional
        Called as ``progress(what, done, total)`` before and after each batch, with candidates as
        the unit, then around each pair of a comparison, with pairs.

    Returns
    -------
    list of Best
        Also written to ``best.json``.

    Raises
    ------
    TuneError
        Nothing to tune, or records of another machine.
    DeviceError
        A device that runs nothing.
    """
    resolved, records = resolve_target(target), Path(records)
    if trials < 1 or batch < 1:
        raise TuneError(f"trials is {trials} and batch {batch}; both must be 1 or more")
    tasks = tasks_of(model, resolved)
    if not tasks:
        raise TuneError("nothing to tune: no operator of this model leaves a decision open")
    write_manifest(
        records,
        RecordsManifest(target=machine_of(resolved), threads=threads, emulated=emulated),
    )
    measurer = Measurer(resolved, runner, cold_bytes, batch_secs)
    tuner = Tuner(measurer, records, tasks, seed=seed, progress=progress)
    tuner.search(trials, batch)
    return tuner.confirm() if confirm else tuner.write_best()


@dataclass
class _State:
    """How far a run is, for its progress.

    Attributes
    ----------
    trials, total : int
        Candidates timed in this run, and to be timed.
    failed : int
        How many of `trials` did not run.
    error : str
        Why the last one of them did not.
    """

    trials: int = 0
    total: int = 0
    failed: int = 0
    error: str = ""

    def __str__(self) -> str:
        return f"; {self.failed} failed: {self.error}" if self.failed else ""


class Tuner:
    """Tunes tasks on a device: searches for fast candidates, then compares them with the default.

    Parameters
    ----------
    measurer : Measurer
    records : Path
        Folder of records, its manifest written.
    tasks : list of Task
    seed : int
        Seed of the random candidates.
    progress : callable, optional
        As for `tune`.
    """

    def __init__(
        self,
        measurer: Measurer,
        records: Path,
        tasks: list[Task],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self._measurer, self._records = measurer, records
        self._isa = isa_of(measurer.target)
        self._database, self._comparisons = Database(records), Comparisons(records)
        self._random = random.Random(seed)  # noqa: S311 - chooses candidates, no secrets
        self._model = ms.cost_model.XGBModel(
            extractor=DecisionFeatures(), num_warmup_samples=16, num_tuning_cores=1
        )
        self._known = load_measurements(self._database)
        self._searches = [
            Search.of(task, measurer.target, self._known.get(task.spec, {})) for task in tasks
        ]
        self._state = _State()
        self._tell = progress or (lambda *_: None)

    def search(self, trials: int, batch: int) -> None:
        """Time candidates until `trials` or the candidates are used up.

        Raises
        ------
        DeviceError
            `MAX_DEAD_BATCHES` of which no candidate ran.
        """
        state, dead = self._state, 0
        state.total = min(trials, self._left())
        self.write_best()
        while state.trials < state.total:
            # 1. A batch of the task that promises most.
            search = max(self._searches, key=Search.priority)
            chosen = self._choose(search, min(batch, state.total - state.trials))
            timing = f"{search.task}: timing {len(chosen)} candidates{state}"
            self._tell(timing, state.trials, state.total)
            results = self._measurer.measure(search.task.spec, [decided for decided, _ in chosen])
            # 2. What it says, on disk and to the cost model.
            ran = self._commit(search, chosen, results)
            errors = [error_line(r) for r in results if r.error_msg]
            state.trials += len(chosen)
            state.failed += len(chosen) - ran
            state.total = min(trials, state.trials + self._left())
            state.error = errors[-1] if errors else state.error
            self.write_best()
            self._tell(f"{search.task}: {_fastest(search)}{state}", state.trials, state.total)
            # 3. A device that runs nothing is gone.
            dead = 0 if ran else dead + 1
            if dead == MAX_DEAD_BATCHES:
                raise DeviceError(
                    f"no candidate of {dead} batches ran ({state.error}): look after the device, "
                    f"then run again; the records in {self._records} are kept"
                )

    def confirm(self) -> list[Best]:
        """Compare the fastest candidate of each task with the default, session by session.

        The second sessions come after the first ones of all tasks.

        Raises
        ------
        DeviceError
            A default does not run any more.
        """
        while waiting := [(s, c) for s in self._searches if (c := self._next(s)) is not None]:
            for index, (search, candidate) in enumerate(waiting):
                tell = partial(self._tell_pair, search.task, count(), index, len(waiting))
                tell()
                measure_pairs(
                    self._measurer,
                    self._comparisons,
                    search.task.spec,
                    candidate,
                    search.task.default,
                    tell,
                )
                self.write_best()
        return self.write_best()

    def _tell_pair(self, task: Task, pairs: Iterator[int], session: int, sessions: int) -> None:
        """Tell that a pair of a session was timed: those that end early have all their pairs."""
        done = session * PAIRS_PER_SESSION + min(next(pairs), PAIRS_PER_SESSION)
        what = f"{task}: the best against the default"
        self._tell(what, done, sessions * PAIRS_PER_SESSION)

    def _next(self, search: Search) -> DecisionKey | None:
        default = search.task.default
        compared = self._comparisons.against(search.task.spec, default)
        return next_candidate(search.times, default, compared)

    def write_best(self) -> list[Best]:
        """Write what compiling takes: a run that is killed leaves it behind too."""
        found = {**self._known, **{s.task.spec: s.times for s in self._searches if s.times}}
        best = best_decisions(found, self._isa, self._comparisons)
        write_best(self._records, best)
        return best

    def _left(self) -> int:
        return sum(len(search.untried) for search in self._searches)

    def _choose(self, search: Search, count: int) -> list[Candidate]:
        """Take candidates off the list: the default first, then the model's, some at random."""
        head = [search.untried.pop(0)] if search.default_is_next() else []
        rest = search.untried
        wanted = min(count - len(head), len(rest))
        if wanted <= 0:
            return head
        found = [ms.search_strategy.MeasureCandidate(schedule, []) for _, schedule in rest]
        scores = np.asarray(self._model.predict(search.context, found))
        order = [int(i) for i in np.argsort(-scores)]
        lucky = set(self._random.sample(order, int(wanted * RANDOM_SHARE)))
        picked = [*lucky, *(i for i in order if i not in lucky)][:wanted]
        chosen = [rest[i] for i in picked]
        search.untried = [item for i, item in enumerate(rest) if i not in set(picked)]
        return head + chosen

    def _commit(self, search: Search, chosen: list[Candidate], results: list[Any]) -> int:
        """Write the records of a batch and teach the model; returns how many ran."""
        found, ran = [], 0
        for (decisions, schedule), result in zip(chosen, results, strict=True):
            found.append(ms.search_strategy.MeasureCandidate(schedule, []))
            if not result.run_secs:
                search.requeue(decisions, schedule)
                continue
            ran += 1
            seconds = [float(s) for s in result.run_secs]
            search.times[decision_key(decisions)] = median(seconds)
            record = ms.database.TuningRecord(
                schedule.trace, search.workload, seconds, self._measurer.target, []
            )
            self._database.add_record(record)
        self._model.update(search.context, found, results)
        return ran


def _fastest(search: Search) -> str:
    """Return the time of a task's fastest candidate, and the default's."""
    if not search.times:
        return "nothing ran yet"
    default = search.times.get(search.task.default)
    against = f", default {default * 1e6:.1f} us" if default else ""
    return f"{min(search.times.values()) * 1e6:.1f} us{against}"
