"""The rule of paired comparison, judged with made-up times, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tvm_c4n.compile.records import CONFIRMATIONS, SHIPPED, key_of
from tvm_c4n.errors import DeviceError, TuneError
from tvm_c4n.ops.spec import ConvSpec

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tests.tuning.fake_device import FakeDevice
from tvm_c4n.tuning.comparison import (
    MAX_FAILURES,
    MAX_SLOWER_PAIRS,
    PAIRS_PER_PROCESS,
    PAIRS_PER_SESSION,
    SESSIONS,
    Comparison,
    Comparisons,
    best_accepted,
    measure_pairs,
    next_candidate,
)
from tvm_c4n.tuning.tasks import DecisionKey

ALL = SESSIONS * PAIRS_PER_SESSION
BARELY = [1.0] * MAX_SLOWER_PAIRS + [0.9] * (PAIRS_PER_SESSION - MAX_SLOWER_PAIRS)
DEFAULT, FAST, OTHER, THIRD = ((("vectors", n),) for n in (2, 1, 4, 8))
SPEC = ConvSpec(True, 768, 4, 2, 1536)


def compared(*ratios: float, candidate: DecisionKey = FAST, failures: int = 0) -> Comparison:
    pairs = [(1.0, ratio) for ratio in ratios]
    return Comparison(
        spec={}, candidate=dict(candidate), default=dict(DEFAULT), pairs=pairs, failures=failures
    )


@pytest.mark.parametrize(
    ("ratios", "complete", "accepted"),
    [
        ([0.9] * (ALL - 1), False, False),
        ([0.9] * ALL, True, True),
        ([0.98] * PAIRS_PER_SESSION, True, False),  # always faster, but by less than the least gain
        ([0.9] * PAIRS_PER_SESSION, False, False),
        ([0.9] * PAIRS_PER_SESSION + [0.98] * PAIRS_PER_SESSION, True, False),  # second session
        (BARELY * SESSIONS, True, True),
        ([0.9] * PAIRS_PER_SESSION + [1.0] * (MAX_SLOWER_PAIRS + 1), True, False),
        ([1.0] * (MAX_SLOWER_PAIRS + 1), True, False),  # it cannot be accepted any more
        ([0.5] * 7 + [1.1] * (MAX_SLOWER_PAIRS + 1), True, False),
        ([], False, False),
    ],
)
def test_what_is_accepted(ratios: list[float], complete: bool, accepted: bool) -> None:
    found = compared(*ratios)
    assert (found.complete, found.accepted) == (complete, accepted)
    assert found.rejected == (complete and not accepted)


def test_a_device_that_changes_its_speed_accepts_nothing() -> None:
    """Ten pairs are faster, but only because the speed changed in between."""
    found = compared()
    found.pairs = [(1.0, 0.9)] * 2 + [(2.0, 1.0)] * 4 + [(1.0, 0.99)] * 4 + [(1.0, 2.0)] * 2
    assert found.rejected


def test_a_candidate_that_does_not_run_is_rejected() -> None:
    assert compared(*[0.9] * 5, failures=MAX_FAILURES).rejected
    assert not compared(*[0.9] * 5, failures=MAX_FAILURES - 1).rejected


def test_the_fastest_comes_first_and_two_may_be_rejected() -> None:
    times = {DEFAULT: 1.0, FAST: 0.5, OTHER: 0.8, THIRD: 0.9}
    good, bad = [0.9] * ALL, [1.1] * PAIRS_PER_SESSION
    assert next_candidate(times, DEFAULT, {}) == FAST
    assert next_candidate(times, DEFAULT, {FAST: compared(0.9)}) == FAST
    assert next_candidate(times, DEFAULT, {FAST: compared(*good)}) is None
    rejected = {FAST: compared(*bad)}
    assert next_candidate(times, DEFAULT, rejected) == OTHER
    assert next_candidate(times, DEFAULT, {**rejected, OTHER: compared(*bad)}) is None
    assert next_candidate({DEFAULT: 1.0, FAST: 0.98}, DEFAULT, {}) is None
    assert next_candidate({FAST: 0.5}, DEFAULT, {}) is None  # nothing to compare with
    # A better one that appears later has its own comparison; until then the accepted one stays.
    accepted = {OTHER: compared(*good, candidate=OTHER)}
    assert next_candidate(times, DEFAULT, accepted) == FAST
    best = best_accepted({**accepted, **rejected})
    assert best is not None
    assert best.candidate == dict(OTHER)


def pairs_of(device: FakeDevice, folder: Path) -> Comparison:
    """Time one session on a device; returns what is on disk then."""
    comparisons, written = Comparisons(folder), []
    before = sum(len(one.pairs) for one in comparisons)
    measure_pairs(device, comparisons, SPEC, FAST, DEFAULT, lambda: written.append(1))  # type: ignore[arg-type]
    (found,) = Comparisons(folder)
    assert len(written) == len(found.pairs) + found.failures - before
    return found


def test_the_two_alternate_in_going_first(tmp_path: Path) -> None:
    device = FakeDevice(lambda _, decisions, __: 1.0 if decisions == dict(DEFAULT) else 0.8)
    found = pairs_of(device, tmp_path)
    assert found.pairs == [(1.0, 0.8)] * PAIRS_PER_SESSION
    order = [tuple(decisions.items()) for _, decisions in device.log]
    assert order == [DEFAULT, FAST, FAST, DEFAULT] * (PAIRS_PER_SESSION // 2)


def test_every_few_pairs_have_a_process_of_their_own(tmp_path: Path) -> None:
    device = FakeDevice(lambda _, decisions, __: 1.0 if decisions == dict(DEFAULT) else 0.8)
    pairs_of(device, tmp_path)
    assert device.restarts == list(range(0, 2 * PAIRS_PER_SESSION, 2 * PAIRS_PER_PROCESS))


def test_a_session_resumes_where_it_was_interrupted(tmp_path: Path) -> None:
    started = Comparisons(tmp_path)
    started.start(SPEC, FAST, DEFAULT).pairs += [(1.0, 0.9)] * 5
    started.write()
    device = FakeDevice(lambda _, decisions, __: 1.0 if decisions == dict(DEFAULT) else 0.8)
    found = pairs_of(device, tmp_path)
    assert len(found.pairs) == PAIRS_PER_SESSION
    assert len(device.log) == 2 * (PAIRS_PER_SESSION - 5)


def test_a_candidate_that_fails_is_counted(tmp_path: Path) -> None:
    device = FakeDevice(lambda _, decisions, __: 1.0 if decisions == dict(DEFAULT) else None)
    found = pairs_of(device, tmp_path)
    assert (found.failures, found.pairs) == (MAX_FAILURES, [])


def test_a_device_that_is_gone_is_held_against_nobody(tmp_path: Path) -> None:
    device = FakeDevice(lambda _, __, before: 1.0 if before < 2 else None)
    with pytest.raises(DeviceError, match="default does not run any more \\(unplugged\\)"):
        pairs_of(device, tmp_path)
    (found,) = Comparisons(tmp_path)
    assert (len(found.pairs), found.failures) == (2, 0)


def test_folders_are_merged_pair_by_pair(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, ratio in ((first, 0.9), (second, 0.8)):
        folder.mkdir()
        comparisons = Comparisons(folder)
        comparisons.start(SPEC, FAST, DEFAULT).pairs.append((1.0, ratio))
        comparisons.write()
    both = Comparisons(first)
    for _ in range(2):
        both.merge(Comparisons(second))
    assert both.against(SPEC, DEFAULT)[FAST].pairs == [(1.0, 0.9), (1.0, 0.8)]
    assert both.against(SPEC, OTHER) == {}


def test_format_1_is_read_and_format_2_written(tmp_path: Path) -> None:
    file = tmp_path / CONFIRMATIONS
    duel = {"spec": key_of(SPEC), "decisions": dict(FAST), "default": dict(DEFAULT)}
    old: Any = {"format": 1, "duels": [{**duel, "pairs": [[1.0, 0.9]], "failed": 2}]}
    file.write_text(json.dumps(old))
    found = Comparisons(tmp_path).against(SPEC, DEFAULT)[FAST]
    assert (found.pairs, found.failures) == ([(1.0, 0.9)], 2)
    Comparisons(tmp_path).write()
    assert json.loads(file.read_text()) == {
        "format": 2,
        "comparisons": [
            {
                "spec": key_of(SPEC),
                "candidate": dict(FAST),
                "default": dict(DEFAULT),
                "pairs": [[1.0, 0.9]],
                "failures": 2,
            }
        ],
    }


def test_the_files_of_the_package_are_read() -> None:
    for folder in SHIPPED.glob("*/"):
        assert any(one.accepted for one in Comparisons(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"format": 3, "comparisons": []}', "format"),
        ('{"format": 2, "duels": []}', "comparisons"),
        ('{"format": 1, "comparisons": []}', "duels"),
        ("[]", "not an object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / CONFIRMATIONS).write_text(text)
    with pytest.raises(TuneError, match=message) as caught:
        Comparisons(tmp_path)
    assert "\n" not in str(caught.value)
