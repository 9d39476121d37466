"""Candidates become decisions only when they win again: judged with times that are made up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tvm_c4n.compile.records import CONFIRMATIONS, open_records
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import ConvSpec
from tvm_c4n.tuning.confirm import TOGETHER
from tvm_c4n.tuning.duels import FAILURES, LEGS, LOSSES, PAIRS, Duel, Duels, next_duel, winner

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

ALL = LEGS * PAIRS
LEG = [1.0] * LOSSES + [0.9] * (PAIRS - LOSSES)
DEFAULT, FAST, OTHER, THIRD = ((("vectors", n),) for n in (2, 1, 4, 8))
SPEC = ConvSpec(True, 768, 4, 2, 1536)


def duel(*ratios, candidate=FAST, failed=0):
    pairs = [(1.0, ratio) for ratio in ratios]
    about = {"spec": {}, "decisions": dict(candidate), "default": dict(DEFAULT)}
    return Duel(**about, pairs=pairs, failed=failed)


@pytest.mark.parametrize(
    ("ratios", "complete", "won"),
    [
        ([0.9] * (ALL - 1), False, False),
        ([0.9] * ALL, True, True),
        ([0.98] * PAIRS, True, False),  # always faster, but by less than the margin
        ([0.9] * PAIRS, False, False),
        ([0.9] * PAIRS + [0.98] * PAIRS, True, False),  # the second leg is lost
        (LEG * LEGS, True, True),
        ([0.9] * PAIRS + [1.0] * (LOSSES + 1), True, False),
        ([1.0] * (LOSSES + 1), True, False),  # it cannot be won any more
        ([0.5] * 7 + [1.1] * (LOSSES + 1), True, False),
        ([], False, False),
    ],
)
def test_what_wins(ratios, complete, won):
    found = duel(*ratios)
    assert (found.complete, found.won) == (complete, won)


def test_a_device_that_changes_its_speed_makes_no_winner():
    """Ten pairs are won, but only because the speed changed in between."""
    found = duel()
    found.pairs = [(1.0, 0.9)] * 2 + [(2.0, 1.0)] * 4 + [(1.0, 0.99)] * 4 + [(1.0, 2.0)] * 2
    assert found.complete
    assert not found.won


def test_a_candidate_that_does_not_run_has_lost():
    found = duel(*[0.9] * 5, failed=FAILURES)
    assert found.complete
    assert not found.won


def test_the_fastest_goes_first_and_two_may_lose():
    times = {DEFAULT: 1.0, FAST: 0.5, OTHER: 0.8, THIRD: 0.9}
    good, bad = [0.9] * ALL, [1.1] * PAIRS
    assert next_duel(times, DEFAULT, {}) == FAST
    assert next_duel(times, DEFAULT, {FAST: duel(0.9)}) == FAST
    assert next_duel(times, DEFAULT, {FAST: duel(*good)}) is None
    lost = {FAST: duel(*bad)}
    assert next_duel(times, DEFAULT, lost) == OTHER
    assert next_duel(times, DEFAULT, {**lost, OTHER: duel(*bad)}) is None
    assert next_duel({DEFAULT: 1.0, FAST: 0.98}, DEFAULT, {}) is None
    assert next_duel({FAST: 0.5}, DEFAULT, {}) is None  # nothing to compare with
    # A better one that appears later has its own duel; until then the winner stays.
    won = {OTHER: duel(*good, candidate=OTHER)}
    assert next_duel(times, DEFAULT, won) == FAST
    assert winner({**won, **lost}).decisions == dict(OTHER)


@pytest.fixture
def tuning(tmp_path, monkeypatch):
    """``tuning(times, **options)``: tune a convolution, with `times` as its device.

    `times` gets the decisions and how often they were measured before, and returns seconds or None.
    ``tuning.tasks`` may get more convolutions; ``tuning.shapes`` tells which ones were measured.
    """
    import schedules
    from tvm_c4n.tuning import run
    from tvm_c4n.tuning.metaschedule import ms
    from tvm_c4n.tuning.meter import Built, Meter
    from tvm_c4n.tuning.tasks import Task

    target = resolve_target("host")

    def task_of(spec):
        return Task(spec, 1, schedules.space_of(spec, isa_of(target)))

    def candidate(_self, spec, decided, _file):
        return Built((spec.channels, decided), 1)

    tasks = [task_of(SPEC)]
    monkeypatch.setattr(run, "tasks_of", lambda *_: tasks)
    monkeypatch.setattr(Meter, "_candidate", candidate)
    log, shapes = [], []

    class Device:
        def __init__(self, times):
            self.times, self.before = times, Counter()

        def run(self, wanted):
            ((channels, decided),) = wanted
            shapes.append(channels)
            key = tuple(decided.items())
            secs = self.times(decided["vectors"], self.before[key])
            self.before[key] += 1
            log.append(key)
            error = None if secs else "unplugged"
            result = ms.runner.RunnerResult([secs] if secs else None, error)
            return [SimpleNamespace(done=lambda: True, result=lambda: result)]

    def tune(times, **options):
        log.clear()
        given = {"runner": Device(times), "records": tmp_path / "records", "trials": 99}
        best, *_ = run.tune("", target, **{**given, **options})
        return best, list(log)

    tune.tasks, tune.shapes, tune.task_of = tasks, shapes, task_of
    tune.default = tasks[0].space["vectors"][0]
    tune.folder = tmp_path / "records"
    return tune


def test_a_lucky_single_measurement_is_rejected(tuning):
    """One candidate is twice as fast, once."""
    lucky = next(v for v in (1, 2, 4) if v != tuning.default)

    def times(vectors, before):
        return 0.5 if vectors == lucky and not before else 1.0

    best, _ = tuning(times)
    assert best.decisions == {"vectors": tuning.default}
    (kept,) = json.loads((tuning.folder / CONFIRMATIONS).read_text())["duels"]
    assert kept["decisions"] == {"vectors": lucky}
    assert kept["pairs"] == [[1.0, 1.0]] * (LOSSES + 1)
    assert open_records(tuning.folder).best == [best]
    # The same command again has nothing left to measure.
    assert tuning(times) == (best, [])


def test_the_second_best_gets_its_turn(tuning):
    lucky, fast = [v for v in (1, 2, 4) if v != tuning.default]

    def times(vectors, before):
        return {lucky: 2.0 if before else 0.5, fast: 0.8}.get(vectors, 1.0)

    best, _ = tuning(times)
    assert best.decisions == {"vectors": fast}
    assert (best.seconds, best.default_seconds) == (0.8, 1.0)


def test_the_two_take_turns_at_going_first(tuning):
    fast = next(v for v in (1, 2, 4) if v != tuning.default)
    best, log = tuning(lambda vectors, _: 0.8 if vectors == fast else 1.0)
    assert best.decisions == {"vectors": fast}
    order = [dict(key)["vectors"] for key in log[-2 * ALL :]]
    assert order == [tuning.default, fast, fast, tuning.default] * (ALL // 2)


def test_every_few_pairs_have_a_process_of_their_own(tuning, monkeypatch):
    from tvm_c4n.tuning.meter import Meter

    renewed = []
    monkeypatch.setattr(Meter, "renew", lambda _: renewed.append(len(tuning.shapes)))
    fast = next(v for v in (1, 2, 4) if v != tuning.default)
    _, log = tuning(lambda vectors, _: 0.8 if vectors == fast else 1.0)
    searched = len(log) - 2 * ALL
    assert renewed == list(range(searched, len(log), 2 * TOGETHER))


def test_the_second_legs_come_after_all_first_ones(tuning):
    other = replace(SPEC, channels=1536, input_width=3072)
    tuning.tasks.append(tuning.task_of(other))
    defaults = {task.space["vectors"][0] for task in tuning.tasks}
    fast = next(v for v in (1, 2, 4, 8) if v not in defaults)
    tuning(lambda vectors, _: 0.8 if vectors == fast else 1.0)
    legs = [SPEC.channels] * 2 * PAIRS + [other.channels] * 2 * PAIRS
    assert tuning.shapes[-len(legs) * LEGS :] == legs * LEGS


def test_a_duel_goes_on_where_it_was_interrupted(tuning):
    fast = next(v for v in (1, 2, 4) if v != tuning.default)
    pairs = 0

    def progress(state):
        nonlocal pairs
        pairs += bool(state.confirming)
        if pairs == 5:
            raise KeyboardInterrupt

    def times(vectors, _):
        return 0.8 if vectors == fast else 1.0

    with pytest.raises(KeyboardInterrupt):
        tuning(times, progress=progress)
    assert open_records(tuning.folder).best[0].decisions == {"vectors": tuning.default}
    best, log = tuning(times)
    assert best.decisions == {"vectors": fast}
    assert len(log) == 2 * (ALL - 5)


def test_unconfirmed_candidates_wait_for_a_run_that_confirms(tuning):
    fast = next(v for v in (1, 2, 4) if v != tuning.default)

    def times(vectors, _):
        return 0.8 if vectors == fast else 1.0

    best, _ = tuning(times, confirm=False)
    assert best.decisions == {"vectors": tuning.default}
    best, log = tuning(times)
    assert best.decisions == {"vectors": fast}
    assert len(log) == 2 * ALL


def test_a_device_that_is_gone_ends_it_with_a_reason_and_counts_for_nobody(tuning):
    fast = next(v for v in (1, 2, 4) if v != tuning.default)

    def times(vectors, before):
        return None if before else 0.8 if vectors == fast else 1.0

    with pytest.raises(TuneError, match="default does not run any more \\(unplugged\\)"):
        tuning(times)
    best, _ = tuning(lambda vectors, _: 0.8 if vectors == fast else 1.0)
    assert best.decisions == {"vectors": fast}


def test_folders_are_merged_pair_by_pair(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, ratio in ((first, 0.9), (second, 0.8)):
        folder.mkdir()
        duels = Duels(folder)
        duels.begin(SPEC, FAST, DEFAULT).pairs.append((1.0, ratio))
        duels.write()
    both = Duels(first)
    for _ in range(2):
        both.merge(Duels(second))
    assert both.of(SPEC, DEFAULT)[FAST].pairs == [(1.0, 0.9), (1.0, 0.8)]
    assert both.of(SPEC, OTHER) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ('{"format": 2, "duels": []}', "format"), ("[]", "valid")],
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    (tmp_path / CONFIRMATIONS).write_text(text)
    with pytest.raises(TuneError, match=message) as caught:
        Duels(tmp_path)
    assert "\n" not in str(caught.value)
