"""What rules share: candidates, defaults, names in files."""

from __future__ import annotations

from schedules.base import candidates, current_names, decided, interleave_candidates


def test_the_default_is_the_first_candidate_and_each_is_there_once() -> None:
    assert candidates(4, [1, 2, 4, 8]) == (4, 1, 2, 8)
    assert decided(None, (4, 1)) == 4
    assert decided(1, (4, 1)) == 1


def test_vectors_are_interleaved_where_enough_tasks_are_left() -> None:
    assert interleave_candidates(1024, 16, 4, 8) == (4, 1, 2, 8)
    assert interleave_candidates(256, 16, 4, 8)[0] == 2
    assert interleave_candidates(48, 16, 4, 8) == (1,)
    assert interleave_candidates(37, 16, 4, 8) == (1,)


def test_files_may_have_former_names() -> None:
    assert current_names({"tiles": 2, "ahead": 0, "tokens": 4}) == {
        "panels": 2,
        "prefetch_distance": 0,
        "tokens": 4,
    }
