"""Tables from samples: medians, disturbed samples, fractions and ratios."""

import pytest

from benchmarks.report import bandwidth_of, cells_of, tables


def sample(row, secs, *, engine="tvm_c4n", others=0.0, threads=2, size="370m", test="tg64"):
    return {
        "type": "sample",
        "engine": engine,
        "size": size,
        "row": row,
        "test": test,
        "tokens": int(test[2:]),
        "threads": threads,
        "secs": secs,
        "weight_bytes": 100_000_000,
        "others": others,
    }


RUN = {"type": "run", "cpu": "some CPU", "cores": 2, "time": "2026-01-02T03:04:05Z"}
BANDWIDTH = [
    {"type": "bandwidth", "threads": 2, "gbs": {"plain": 10.0, "huge": gbs}, "others": others}
    for gbs, others in ((19.0, 0.0), (20.0, 0.0), (21.0, 0.1), (90.0, 1.5))
]
LINES = [
    RUN,
    *BANDWIDTH,
    sample("C4n int4 n=2", 0.32),
    sample("C4n int4 n=2", 0.40),
    sample("C4n int4 n=2", 0.64),
    sample("C4n int4 n=2", 6.4, others=1.0),
    sample("llama.cpp F16", 3.2, engine="llama.cpp"),
]


def test_disturbed_samples_are_counted_and_left_out():
    ours, peer = cells_of(LINES, max_others=0.2)
    assert ours.rates == pytest.approx([200, 160, 100])
    assert ours.disturbed == 1
    assert ours.rate == pytest.approx(160)
    assert ours.gbs == pytest.approx(16)
    assert peer.rate == pytest.approx(20)


def test_the_bandwidth_is_the_best_ways_median_of_quiet_rounds():
    assert bandwidth_of(LINES, max_others=0.2) == {2: ("huge", 20.0)}


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_a_table_says_how_near_the_limit_a_row_is_and_how_many_times_as_fast():
    head, _, ours, peer = rows_of(tables(LINES, max_others=0.2))
    assert head[-2:] == ["of limit", "x F16"]
    row = ["370m tg64, C4n int4 n=2", "2", "100.0", "3 (-1)", "160", "100 to 200", "80 %", "8.0"]
    assert ours == row
    assert peer[4:] == ["20.0", "20.0 to 20.0", "10 %", ""]


def test_states_count_where_a_log_knows_them():
    (ours,) = cells_of([{**sample("C4n int4 n=2", 0.4), "token_bytes": 125_000_000}], 0.2)
    assert ours.gbs == pytest.approx(160 * 0.125)


def test_only_the_chosen_numbers_of_threads_are_shown():
    lines = [*LINES, {**BANDWIDTH[0], "threads": 1}, sample("C4n int4 n=2", 0.64, threads=1)]
    assert [row[1] for row in rows_of(tables(lines, 0.2, [1]))[2:]] == ["1"]


def test_prompts_are_a_table_of_their_own_without_a_limit():
    lines = [
        RUN,
        sample("C4n int4 n=2", 0.5, test="pp512"),
        sample("llama.cpp Q8_0", 0.8, engine="llama.cpp", test="pp512"),
    ]
    text = tables([*lines, *BANDWIDTH], 0.2)
    assert "**Prompt processing**" in text and "**Generation**" not in text
    head, _, ours, _ = rows_of(text)
    assert "of limit" not in head
    assert ours[-1] == "1.6"
