"""The records of a folder as MetaSchedule's JSON database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from schedules import fits, space_of
from tvm_c4n._tvm import tvm
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.compile.records import Best, key_of, open_records, write_best, write_manifest
from tvm_c4n.ops.isa import Isa
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.tuning.duels import Decided, Duels, winner
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.space import decisions_of, isa_named, spec_of_workload

WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"
FAILED = 1e10
"""MetaSchedule's seconds for a candidate that did not run."""

Measured = dict[OpSpec, dict[Decided, float]]
"""Seconds (median) by operator and decisions."""


def open_database(folder: Path) -> Any:
    """Open or make the database of a folder; an unfinished last line of a killed run is dropped."""
    for name in (WORKLOADS, RECORDS):
        _repair(folder / name)
    return ms.database.JSONDatabase(
        path_workload=str(folder / WORKLOADS), path_tuning_record=str(folder / RECORDS)
    )


def _repair(file: Path) -> None:
    """Cut a file behind its last whole line: MetaSchedule refuses the rest with it."""
    if not file.is_file():
        return
    data = file.read_bytes()
    keep = data
    while keep:
        line = keep.rstrip(b"\n").rsplit(b"\n", 1)[-1]
        try:
            json.loads(line)
            break
        except ValueError:
            keep = keep[: keep.rstrip(b"\n").rfind(b"\n") + 1]
    if keep and not keep.endswith(b"\n"):
        keep += b"\n"
    if keep != data:
        write_atomically(file, keep)


def valid_records(database: Any) -> Iterator[tuple[OpSpec, dict[str, int], float]]:
    """Yield operator, decisions and median seconds of the candidates that ran."""
    for record in database.get_all_tuning_records():
        seconds = [float(s) for s in record.run_secs or []]
        if not seconds or max(seconds) >= FAILED:
            continue
        schedule = tvm.s_tir.Schedule(record.workload.mod)
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        spec = spec_of_workload(record.workload.mod)
        yield spec, decisions_of(schedule), median(seconds)


def measured(database: Any) -> Measured:
    """Return the fastest measurement of each candidate."""
    found: Measured = {}
    for spec, decisions, seconds in valid_records(database):
        of_spec = found.setdefault(spec, {})
        key = tuple(sorted(decisions.items()))
        of_spec[key] = min(seconds, of_spec.get(key, seconds))
    return found


def best_of(found: Measured, isa: Isa, duels: Duels) -> list[Best]:
    """Return the decisions to compile with: the default unless a candidate won its duel."""
    best = []
    for spec, times in found.items():
        space = space_of(spec, isa)
        default = tuple(sorted((name, choices[0]) for name, choices in space.items()))
        if default not in times:
            continue
        fought = duels.of(spec, default)
        won = winner({key: duel for key, duel in fought.items() if fits(dict(key), space)})
        default_secs, seconds = won.seconds() if won else (times[default], times[default])
        decisions = won.decisions if won else dict(default)
        best.append(
            Best(
                spec=key_of(spec),
                decisions={name: decisions[name] for name in space},
                seconds=seconds,
                default_seconds=default_secs,
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
    known = {_line(record) for record in database.get_all_tuning_records()}
    added = 0
    for other in others:
        for record in open_database(other).get_all_tuning_records():
            if (line := _line(record)) in known:
                continue
            known.add(line)
            workload = database.commit_workload(record.workload.mod)
            database.commit_tuning_record(
                ms.database.TuningRecord(
                    record.trace, workload, record.run_secs, record.target, record.args_info
                )
            )
            added += 1
    duels = Duels(into)
    for other in others:
        duels.merge(Duels(other))
    duels.write()
    isa = isa_named(open_records(into).manifest.target.isa)
    write_best(into, best_of(measured(database), isa, duels))
    return added


def _line(record: Any) -> str:
    """Return what makes a record: its workload, trace and times."""
    content = json.dumps(record.as_json(), default=str, sort_keys=True)
    return f"{key_of(spec_of_workload(record.workload.mod))} {content}"
