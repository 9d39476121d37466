"""Paired comparison of a candidate with the default, before one replaces the other.

The fastest of many candidates that were timed once is partly the luckiest. So the decision that
compiling takes instead of the default is timed again, in pairs with the default, and once more in
a later session: whatever slowed one of the two down for a while is over by the time that the other
kernels have had their sessions. docs/decisions/paired-comparison.md has the figures behind the
rule, docs/reference/format-records.md the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.checkpoint.json_reading import read_json, validated
from tvm_c4n.compile.records import CONFIRMATIONS, MAX_BYTES, DecisionsInFile, key_of
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.tuning.measurer import Built, Measurer, error_line
from tvm_c4n.tuning.tasks import DecisionKey, decision_key

# A candidate must be faster than the default by this part of its time. Of the candidates that were
# faster by 3 to 5 %, some were no faster when they were timed again in another process.
MIN_GAIN = 0.05
# Each session must succeed; a comparison ends as soon as it cannot succeed any more.
SESSIONS = 2
PAIRS_PER_SESSION = 12
# In that many pairs of a session an accepted candidate may be slower than the default.
MAX_SLOWER_PAIRS = 3
# A candidate is rejected when it has failed to run three times in pairs in which the default ran.
# Three failures of the default in a row mean that the device is gone.
MAX_FAILURES = 3
# After two rejected candidates of a task the default stays.
MAX_REJECTED = 2
# What a process gets by chance, such as where its stack begins, it keeps; that was a quarter of the
# time of one kernel. On this machine, therefore, only three pairs share a process.
PAIRS_PER_PROCESS = 3

Seconds = Annotated[float, Field(gt=0)]
Pair = tuple[Seconds, Seconds]


class Comparison(BaseModel):
    """A candidate for an operator's decisions, timed against the default.

    Attributes
    ----------
    spec : dict
        The operator, as `key_of` gives it.
    candidate, default : dict
        Decisions by name.
    pairs : list of (float, float)
        Seconds of the default and of the candidate, timed right after each other.
    failures : int
        How often the candidate did not run although the default did.
    """

    model_config = ConfigDict(extra="forbid")

    spec: dict[str, int | str | bool]
    candidate: DecisionsInFile
    default: DecisionsInFile
    pairs: list[Pair] = []
    failures: int = Field(default=0, ge=0)

    @property
    def rejected(self) -> bool:
        """Whether the candidate cannot be accepted any more."""
        starts = range(0, len(self.pairs), PAIRS_PER_SESSION)
        sessions = (self.pairs[start : start + PAIRS_PER_SESSION] for start in starts)
        return self.failures >= MAX_FAILURES or any(map(_has_failed, sessions))

    @property
    def accepted(self) -> bool:
        """Whether the candidate replaces the default."""
        return self.complete and not self.rejected

    @property
    def complete(self) -> bool:
        """Whether nothing is left to time."""
        return self.rejected or len(self.pairs) >= SESSIONS * PAIRS_PER_SESSION

    @property
    def between_sessions(self) -> bool:
        """Whether the next pair begins a session."""
        return len(self.pairs) % PAIRS_PER_SESSION == 0

    @property
    def ratio(self) -> float:
        """The candidate's time over the default's, see `_ratio`."""
        return _ratio(self.pairs)

    def medians(self) -> tuple[float, float]:
        """Return the median seconds of the default and of the candidate."""
        return median(d for d, _ in self.pairs), median(c for _, c in self.pairs)


def _has_failed(session: Sequence[Pair]) -> bool:
    """Return whether a session, or the part of it that was timed, cannot succeed any more."""
    slower = sum(candidate >= default for default, candidate in session)
    full = len(session) == PAIRS_PER_SESSION
    return slower > MAX_SLOWER_PAIRS or (full and _ratio(session) > 1 - MIN_GAIN)


def _ratio(pairs: Sequence[Pair]) -> float:
    """Return the candidate's time over the default's.

    It is the larger one of the median over the pairs and the ratio of the two medians: a device
    that changes its speed now and then makes either a matter of luck.
    """
    default, candidate = median(d for d, _ in pairs), median(c for _, c in pairs)
    return max(candidate / default, median(c / d for d, c in pairs))


class _File(BaseModel):
    """Format 2 of confirmations.json."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[2] = 2
    comparisons: list[Comparison]


class _ComparisonOfFormat1(Comparison):
    candidate: dict[str, int] = Field(alias="decisions")
    failures: int = Field(default=0, ge=0, alias="failed")


class _FileOfFormat1(BaseModel):
    """Format 1, which had other names."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    duels: list[_ComparisonOfFormat1]


class Comparisons:
    """The comparisons of a folder of records."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CONFIRMATIONS
        self._all = _read(self._file)

    def __iter__(self) -> Any:
        return iter(self._all)

    def against(self, spec: OpSpec, default: DecisionKey) -> dict[DecisionKey, Comparison]:
        """Return an operator's comparisons with this default, by the candidate's decisions."""
        key, against = key_of(spec), dict(default)
        mine = [one for one in self._all if one.spec == key and one.default == against]
        return {decision_key(one.candidate): one for one in mine}

    def start(self, spec: OpSpec, candidate: DecisionKey, default: DecisionKey) -> Comparison:
        """Return the comparison of these two; a new one if there is none.

        A new one is written once it has a result.
        """
        found = self.against(spec, default).get(candidate)
        if found is None:
            found = Comparison(spec=key_of(spec), candidate=dict(candidate), default=dict(default))
            self._all.append(found)
        return found

    def write(self) -> None:
        """Write those that have a result to the folder's file."""
        kept = [one for one in self._all if one.pairs or one.failures]
        write_atomically(self._file, _File(comparisons=kept).model_dump_json(indent=1) + "\n")

    def merge(self, other: Comparisons) -> None:
        """Add the pairs of another folder of the same machine, each once."""
        for theirs in other:
            same = (theirs.spec, theirs.candidate, theirs.default)
            mine = next((c for c in self._all if (c.spec, c.candidate, c.default) == same), None)
            if mine is None:
                self._all.append(theirs.model_copy(deep=True))
            else:
                mine.pairs += [pair for pair in theirs.pairs if pair not in mine.pairs]
                mine.failures = max(mine.failures, theirs.failures)


def next_candidate(
    times: Mapping[DecisionKey, float],
    default: DecisionKey,
    comparisons: Mapping[DecisionKey, Comparison],
) -> DecisionKey | None:
    """Return the candidate that is to be compared next; None: the task is decided.

    Parameters
    ----------
    times : mapping
        Seconds of the candidates that ran, the default among them.
    default : DecisionKey
    comparisons : mapping
        Comparisons with this default so far, by candidate.
    """
    rejected = 0
    for candidate in _promising(times, default):
        comparison = comparisons.get(candidate)
        if comparison is None or not comparison.complete:
            return candidate
        rejected += comparison.rejected
        if comparison.accepted or rejected == MAX_REJECTED:
            break
    return None


def _promising(times: Mapping[DecisionKey, float], default: DecisionKey) -> list[DecisionKey]:
    """Return the candidates that beat the default by `MIN_GAIN` when timed once, fastest first."""
    if default not in times:
        return []
    limit = times[default] * (1 - MIN_GAIN)
    return sorted((c for c in times if times[c] <= limit), key=lambda c: times[c])


def best_accepted(comparisons: Mapping[DecisionKey, Comparison]) -> Comparison | None:
    """Return the comparison of the candidate to compile with; None: the default."""
    accepted = (one for one in comparisons.values() if one.accepted)
    return min(accepted, key=lambda one: one.ratio, default=None)


def measure_pairs(
    measurer: Measurer,
    comparisons: Comparisons,
    spec: OpSpec,
    candidate: DecisionKey,
    default: DecisionKey,
    after_pair: Callable[[], None],
) -> None:
    """Time the pairs that are left of a session; each is written at once.

    The two alternate in going first: what a device that slows down does to one of them it does to
    the other as well. On this machine every few pairs have a process of their own.

    Raises
    ------
    DeviceError
        The default does not run any more, several times in a row.
    """
    comparison = comparisons.start(spec, candidate, default)
    dead, ended = 0, False
    with measurer.built(spec, [dict(default), dict(candidate)]) as (reference, challenger):
        while not (ended or comparison.complete):
            # 1. A fresh process now and then.
            if len(comparison.pairs) % PAIRS_PER_PROCESS == 0:
                measurer.restart_workers()
            # 2. One sample of each.
            if len(comparison.pairs) % 2 == 0:
                old, error = _seconds(measurer, reference)
                new, _ = _seconds(measurer, challenger)
            else:
                new, _ = _seconds(measurer, challenger)
                old, error = _seconds(measurer, reference)
            # 3. Without the default's time the pair says nothing of the candidate.
            if old is None:
                dead += 1
                if dead == MAX_FAILURES:
                    raise DeviceError(
                        f"the default does not run any more ({error}): look after the device, "
                        "then run again; what was measured is kept"
                    )
                continue
            dead = 0
            # 4. The pair, or the candidate's failure.
            if new is None:
                comparison.failures += 1
            else:
                comparison.pairs.append((old, new))
                ended = comparison.between_sessions
            comparisons.write()
            after_pair()


def _seconds(measurer: Measurer, built: Built) -> tuple[float | None, str]:
    """Return the median of a candidate's samples, or why there is none."""
    result = measurer.time_again(built)
    if not result.run_secs:
        return None, error_line(result)
    return median(float(s) for s in result.run_secs), ""


def _read(file: Path) -> list[Comparison]:
    if not file.exists():
        return []
    remedy = "delete it and tune again"
    content = read_json(file, MAX_BYTES, remedy, TuneError)
    if content.get("format") == 1:
        found = validated(_FileOfFormat1, content, str(file), remedy, TuneError).duels
        return [Comparison(**one.model_dump()) for one in found]
    return validated(_File, content, str(file), remedy, TuneError).comparisons
