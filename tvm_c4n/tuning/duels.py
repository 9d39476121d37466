"""Confirmation: a candidate against the default, interleaved (docs/reference/format-records.md).

The fastest of many candidates that were measured once is partly the luckiest. What compiling is to
take instead of the default has to win again, pair by pair, and once more later: what a machine did
to one of the two for a while, it does not do after the duels of the other operators.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.compile.records import CONFIRMATIONS, key_of
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.spec import OpSpec

MARGIN = 0.05
"""A candidate must be that much faster than the default. Of those that won by 3 to 5 % some were no
faster when they were measured again in another process."""
LEGS = 2
"""Of one duel, each of which must be won; it ends when it cannot be won any more."""
PAIRS = 12
"""Of one leg."""
LOSSES = 3
"""Pairs that a winner may lose in a leg."""
FAILURES = 3
"""Pairs in which a candidate may fail to run though the default did."""
TRIES = 2
"""Candidates of a task that may lose before the default stays."""

Seconds = Annotated[float, Field(gt=0)]
Decided = tuple[tuple[str, int], ...]
"""Decisions, sorted by name."""


class Duel(BaseModel):
    """A candidate of an operator against the default.

    Attributes
    ----------
    spec, decisions, default : dict
        The operator, and both candidates.
    pairs : list
        Seconds of the default and of the candidate, measured right after each other.
    failed : int
        Times that the candidate did not run right after the default did.
    """

    model_config = ConfigDict(extra="forbid")

    spec: dict[str, int | str | bool]
    decisions: dict[str, int]
    default: dict[str, int]
    pairs: list[tuple[Seconds, Seconds]] = []
    failed: int = Field(default=0, ge=0)

    @property
    def lost(self) -> bool:
        """Whether it cannot be won any more."""
        begins = range(0, len(self.pairs), PAIRS)
        return self.failed >= FAILURES or any(_is_lost(self.pairs[b : b + PAIRS]) for b in begins)

    @property
    def complete(self) -> bool:
        """Whether there is enough to judge by."""
        return self.lost or len(self.pairs) >= LEGS * PAIRS

    @property
    def between_legs(self) -> bool:
        """Whether the next pair begins a leg."""
        return len(self.pairs) % PAIRS == 0

    @property
    def ratio(self) -> float:
        """The candidate's time over the default's, see `_ratio`."""
        return _ratio(self.pairs)

    @property
    def won(self) -> bool:
        """Whether the candidate is to be taken."""
        return self.complete and not self.lost

    def seconds(self) -> tuple[float, float]:
        """Return the medians of the default and of the candidate."""
        return median(d for d, _ in self.pairs), median(c for _, c in self.pairs)


def _is_lost(leg: Sequence[tuple[Seconds, Seconds]]) -> bool:
    """Whether a leg, or what there is of it, cannot be won any more."""
    slower = sum(ours >= default for default, ours in leg)
    return slower > LOSSES or (len(leg) == PAIRS and _ratio(leg) > 1 - MARGIN)


def _ratio(pairs: Sequence[tuple[Seconds, Seconds]]) -> float:
    """Return the candidate's time over the default's: of pairs and of medians, the larger one.

    A device that changes its speed now and then makes either a matter of luck.
    """
    default, ours = median(d for d, _ in pairs), median(c for _, c in pairs)
    return max(ours / default, median(c / d for d, c in pairs))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    duels: list[Duel]


class Duels:
    """The duels of a folder of records."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CONFIRMATIONS
        self._all = _read(self._file)

    def of(self, spec: OpSpec, default: Decided) -> dict[Decided, Duel]:
        """Return an operator's duels against this default, by the candidate's decisions."""
        key, against = key_of(spec), dict(default)
        mine = [duel for duel in self._all if duel.spec == key and duel.default == against]
        return {tuple(sorted(duel.decisions.items())): duel for duel in mine}

    def begin(self, spec: OpSpec, decisions: Decided, default: Decided) -> Duel:
        """Return the duel of these two; a new one is kept once it has a result."""
        found = self.of(spec, default).get(decisions)
        if found is None:
            found = Duel(spec=key_of(spec), decisions=dict(decisions), default=dict(default))
            self._all.append(found)
        return found

    def write(self) -> None:
        """Replace the file."""
        kept = [duel for duel in self._all if duel.pairs or duel.failed]
        write_atomically(self._file, _File(duels=kept).model_dump_json(indent=1) + "\n")

    def merge(self, other: Duels) -> None:
        """Add the pairs of another folder of the same machine, each once."""
        for theirs in other._all:
            same = (theirs.spec, theirs.decisions, theirs.default)
            mine = next((d for d in self._all if (d.spec, d.decisions, d.default) == same), None)
            if mine is None:
                self._all.append(theirs.model_copy(deep=True))
            else:
                mine.pairs += [pair for pair in theirs.pairs if pair not in mine.pairs]
                mine.failed = max(mine.failed, theirs.failed)


def next_duel(
    times: Mapping[Decided, float], default: Decided, fought: Mapping[Decided, Duel]
) -> Decided | None:
    """Return the candidate that is to be confirmed next; None: all is decided.

    Parameters
    ----------
    times : mapping
        Seconds of the candidates that ran, the default among them.
    default : Decided
    fought : mapping
        Duels so far, by candidate.
    """
    lost = 0
    for candidate in _challengers(times, default):
        duel = fought.get(candidate)
        if duel is None or not duel.complete:
            return candidate
        lost += not duel.won
        if duel.won or lost == TRIES:
            break
    return None


def _challengers(times: Mapping[Decided, float], default: Decided) -> Iterable[Decided]:
    """Return the candidates that were faster than the default by `MARGIN`, the fastest first."""
    if default not in times:
        return []
    limit = times[default] * (1 - MARGIN)
    return sorted((c for c in times if times[c] <= limit), key=lambda c: times[c])


def winner(fought: Mapping[Decided, Duel]) -> Duel | None:
    """Return the duel of the candidate to compile with; None: the default."""
    return min((d for d in fought.values() if d.won), key=lambda d: d.ratio, default=None)


def _read(file: Path) -> list[Duel]:
    if not file.is_file():
        return []
    try:
        return _File.model_validate(json.loads(file.read_bytes())).duels
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TuneError(f"{file}: {where}: {first['msg']}: delete it and tune again") from None
    except ValueError:
        raise TuneError(f"{file} is not JSON: delete it and tune again") from None
