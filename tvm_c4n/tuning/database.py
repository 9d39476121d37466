"""The measurements of a folder of records, as MetaSchedule's JSON database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from schedules import fits, space_of
from tvm_c4n._tvm import tvm
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.checkpoint.json_reading import parse_value
from tvm_c4n.checkpoint.reading import read_bytes
from tvm_c4n.compile.records import Best, key_of, open_records, write_best, write_manifest
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import Isa, isa_named
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.tuning.comparison import Comparisons, best_accepted
from tvm_c4n.tuning.metaschedule import decisions_of, ms, spec_of_workload
from tvm_c4n.tuning.tasks import DecisionKey, decision_key, default_of

WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"
# MetaSchedule's seconds for a candidate that did not run.
FAILED_SECS = 1e10
# Some 30 kB a record.
MAX_BYTES = 1 << 30
_AGAIN = "delete the folder and tune again"
# 2000 candidates of 20 kernels have 60 MB.
MAX_DATABASE_BYTES = 1 << 30
_AGAIN = "delete the folder and tune again"

# Median seconds by operator and decisions.
Measurements: TypeAlias = dict[OpSpec, dict[DecisionKey, float]]


def open_database(folder: Path) -> Any:
    """Open or make the database of a folder; the unfinished last line of a killed run is dropped.

    Returns
    -------
    tvm.s_tir.meta_schedule.database.JSONDatabase
    """
    for name in (WORKLOADS, RECORDS):
        _repair(folder / name)
    return ms.database.JSONDatabase(
        path_workload=str(folder / WORKLOADS), path_tuning_record=str(folder / RECORDS)
    )


def _repair(file: Path) -> None:
    """Cut a file behind its last whole line: MetaSchedule refuses the whole file with the rest.

    Raises
    ------
    TuneError
        Another line is damaged. MetaSchedule's reader, in C++, must not get it: it has no limit of
        depth.
    """
    if not file.exists():
        return
    data = read_bytes(file, MAX_BYTES, _AGAIN, TuneError)
    lines = data.split(b"\n")
    while lines and not _is_json(lines[-1]):
        lines.pop()
    for number, line in enumerate(lines, 1):
        parse_value(line, f"{file}: line {number}", _AGAIN, TuneError)
    keep = b"".join(line + b"\n" for line in lines)
    if keep != data:
        write_atomically(file, keep)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def valid_records(database: Any) -> Iterator[tuple[OpSpec, dict[str, int], float]]:
    """Yield operator, decisions and median seconds of the candidates that ran."""
    for record in database.get_all_tuning_records():
        seconds = [float(s) for s in record.run_secs or []]
        if not seconds or max(seconds) >= FAILED_SECS:
            continue
        schedule = tvm.s_tir.Schedule(record.workload.mod)
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        spec = spec_of_workload(record.workload.mod)
        yield spec, decisions_of(schedule), median(seconds)


def load_measurements(database: Any) -> Measurements:
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
    database = open_database(into)
    known = {_identity(record) for record in database.get_all_tuning_records()}
    added = 0
    for other in others:
        for record in open_database(other).get_all_tuning_records():
            if (identity := _identity(record)) in known:
                continue
            known.add(identity)
            workload = database.commit_workload(record.workload.mod)
            database.commit_tuning_record(
                ms.database.TuningRecord(
                    record.trace, workload, record.run_secs, record.target, record.args_info
                )
            )
            added += 1
    comparisons = Comparisons(into)
    for other in others:
        comparisons.merge(Comparisons(other))
    comparisons.write()
    isa = isa_named(open_records(into).manifest.target.isa)
    write_best(into, best_decisions(load_measurements(database), isa, comparisons))
    return added


def _identity(record: Any) -> str:
    """Return what tells a record from others: its workload, trace and times."""
    content = json.dumps(record.as_json(), default=str, sort_keys=True)
    return f"{key_of(spec_of_workload(record.workload.mod))} {content}"
