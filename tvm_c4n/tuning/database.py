"""The measurements of a folder of records, in the files of MetaSchedule's JSON database.

The files are read and written here. MetaSchedule's reader, in C++, builds modules from whatever
they say, and dies of some; its writer does not notice a full disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from schedules import fits, space_of
from tvm_c4n.checkpoint.files import append_line, write_atomically
from tvm_c4n.checkpoint.json_reading import parse_value
from tvm_c4n.checkpoint.reading import read_bytes
from tvm_c4n.compile.records import Best, key_of, open_records, write_best, write_manifest
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import Isa, isa_named
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.tuning.comparison import Comparisons, best_accepted
from tvm_c4n.tuning.database_lines import MAX_SECS, decisions_in, seconds_in, spec_in
from tvm_c4n.tuning.metaschedule import spec_of_workload
from tvm_c4n.tuning.tasks import DecisionKey, decision_key, default_of

WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"
# 2000 candidates of 20 kernels have 60 MB.
MAX_BYTES = 1 << 30
_AGAIN = "delete the folder and tune again"

# Median seconds by operator and decisions.
Measurements: TypeAlias = dict[OpSpec, dict[DecisionKey, float]]


@dataclass(frozen=True)
class Measurement:
    """A candidate that was measured.

    Attributes
    ----------
    spec : OpSpec
    decisions : dict
    run_secs : tuple of float
    content : list
        What MetaSchedule's file says of it, behind the number of its workload.
    """

    spec: OpSpec
    decisions: dict[str, int]
    run_secs: tuple[float, ...]
    content: list[Any]

    def identity(self) -> str:
        """Return what tells a measurement from others: its operator, trace and times."""
        content = json.dumps(self.content, sort_keys=True)
        return f"{key_of(self.spec)} {content}"


class Database:
    """The measurements of a folder; `add` appends to its files.

    Parameters
    ----------
    folder : Path
        Its files are made when there is something to write. The unfinished last line of a killed
        run is dropped.

    Attributes
    ----------
    measurements : list of Measurement
    workloads : dict of OpSpec to list
        What the file says of each operator, in its order.

    Raises
    ------
    TuneError
        A line is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.workloads: dict[OpSpec, list[Any]] = {}
        specs = []
        for where, line in _lines(folder / WORKLOADS):
            specs.append(spec_in(line, where))
            self.workloads.setdefault(specs[-1], line)
        # MetaSchedule counts workloads that are there twice, too.
        self._numbers = {spec: number for number, spec in reversed(list(enumerate(specs)))}
        self._count = len(specs)
        self.measurements = []
        for where, line in _lines(folder / RECORDS):
            match line:
                case [int(number), [trace, times, _, _] as content] if 0 <= number < len(specs):
                    spec, decisions = specs[number], decisions_in(trace, where)
                    found = Measurement(spec, decisions, seconds_in(times, where), content)
                    self.measurements.append(found)
                case _:
                    raise TuneError(f"{where}: no measurement of a workload; {_AGAIN}")

    def add(self, spec: OpSpec, workload: list[Any], content: list[Any]) -> None:
        """Append a measurement, after its workload where that is new.

        Parameters
        ----------
        spec : OpSpec
        workload, content : list
            As MetaSchedule's ``as_json`` gives them.
        """
        if spec not in self._numbers:
            append_line(self._folder / WORKLOADS, json.dumps(workload))
            self._numbers[spec], self._count = self._count, self._count + 1
            self.workloads[spec] = workload
        append_line(self._folder / RECORDS, json.dumps([self._numbers[spec], content]))
        trace, times, *_ = content
        found = decisions_in(trace, RECORDS), seconds_in(times, RECORDS)
        self.measurements.append(Measurement(spec, *found, content))

    def add_record(self, record: Any) -> None:
        """Append a TuningRecord of MetaSchedule's."""
        spec = spec_of_workload(record.workload.mod)
        self.add(spec, record.workload.as_json(), record.as_json())


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield where each line is and its value; what follows the last whole line is cut off."""
    if not file.exists() and not file.is_symlink():
        return
    data = read_bytes(file, MAX_BYTES, _AGAIN, TuneError)
    lines = data.split(b"\n")
    while lines and not _is_json(lines[-1]):
        lines.pop()
    found = [
        (where, parse_value(line, where, _AGAIN, TuneError))
        for where, line in ((f"{file}: line {n}", line) for n, line in enumerate(lines, 1))
    ]
    keep = b"".join(line + b"\n" for line in lines)
    if keep != data:
        write_atomically(file, keep)
    yield from found


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def valid_records(database: Database) -> Iterator[tuple[OpSpec, dict[str, int], float]]:
    """Yield operator, decisions and median seconds of the candidates that ran."""
    for found in database.measurements:
        if found.run_secs and max(found.run_secs) < MAX_SECS:
            yield found.spec, found.decisions, median(found.run_secs)


def load_measurements(database: Database) -> Measurements:
    """Return the fastest measurement of each candidate."""
    found: Measurements = {}
    for spec, decisions, seconds in valid_records(database):
        of_spec = found.setdefault(spec, {})
        key = decision_key(decisions)
        of_spec[key] = min(seconds, of_spec.get(key, seconds))
    return found


def best_decisions(found: Measurements, isa: Isa, comparisons: Comparisons) -> list[Best]:
    """Return the decisions to compile with: the default unless a candidate was accepted."""
    best = []
    for spec, times in found.items():
        space = space_of(spec, isa)
        default = default_of(space)
        if default not in times:
            continue
        compared = comparisons.against(spec, default)
        accepted = best_accepted({k: c for k, c in compared.items() if fits(dict(k), space)})
        secs = accepted.medians() if accepted else (times[default], times[default])
        decisions = accepted.candidate if accepted else dict(default)
        best.append(
            Best(
                spec=key_of(spec),
                decisions={name: decisions[name] for name in space},
                seconds=secs[1],
                default_seconds=secs[0],
            )
        )
    return best


def merge_folders(into: Path, others: list[Path]) -> int:
    """Add the records of other folders of the same machine; returns how many were new.

    Raises
    ------
    TuneError
        The folders are of different machines.
    """
    for other in others:
        write_manifest(into, open_records(other).manifest)
    database = Database(into)
    known = {found.identity() for found in database.measurements}
    added = 0
    for other in others:
        source = Database(other)
        for found in source.measurements:
            if (identity := found.identity()) not in known:
                known.add(identity)
                database.add(found.spec, source.workloads[found.spec], found.content)
                added += 1
    comparisons = Comparisons(into)
    for other in others:
        comparisons.merge(Comparisons(other))
    comparisons.write()
    isa = isa_named(open_records(into).manifest.target.isa)
    write_best(into, best_decisions(load_measurements(database), isa, comparisons))
    return added
