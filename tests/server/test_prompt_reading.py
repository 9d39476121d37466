"""How much of a prompt is read at once, and where a state is kept."""

from time import perf_counter

from tvm_c4n.server.prompt_reading import Borders, Pace


def test_a_part_is_as_long_as_its_time_says():
    pace = Pace(512)
    assert 16 <= pace.tokens(0.02) <= 64
    for _ in range(20):
        pace.observe(100, perf_counter() - 0.01)
    assert 150 < pace.tokens(0.02) < 210
    assert pace.tokens(10) == 512
    for _ in range(20):
        pace.observe(10, perf_counter() - 1)
    assert pace.tokens(0.02) == 16


def test_prompts_part_where_they_differ():
    borders = Borders()
    begin = list(range(100))
    assert borders.of([*begin, 1, 2]) == 0
    assert borders.of([*begin, 3]) == 100
    assert borders.of([*begin[:70], 500]) == 70
    assert borders.of([*begin[:63], 500]) == 0
    assert borders.of(begin) == 100
    assert borders.of([*begin, 3, 4]) == 101
