"""Tables and bars from samples: medians, disturbed samples, fractions and ratios."""

import pytest

from benchmarks.bars import bars
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


def test_a_table_says_how_near_the_limit_a_row_is():
    text = tables(LINES, max_others=0.2)
    row = next(line for line in text.splitlines() if line.startswith("| C4n int4 n=2"))
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        *("100.0", "3 (-1)", "100", "160", "200", "16.0", "80 %")
    ]


def test_bars_are_met_or_missed():
    text = bars(LINES, max_others=0.2)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["370m C4n int4 n=2, of limit", "2", "0.85", "0.80", "no", ""] in rows
    assert ["370m C4n int4 n=2 / llama.cpp F16", "2", "7.0", "8.0", "yes", "10.0"] in rows


def test_prefill_is_held_against_the_best_type():
    lines = [
        RUN,
        sample("C4n int4 n=2", 0.5, test="pp512"),
        sample("llama.cpp F16", 1.0, engine="llama.cpp", test="pp512"),
        sample("llama.cpp Q8_0", 0.8, engine="llama.cpp", test="pp512"),
    ]
    [row] = [line for line in bars([*lines, *BANDWIDTH], 0.2).splitlines() if "pp512" in line]
    assert [cell.strip() for cell in row.split("|")[3:-1]] == ["4.0", "1.6", "no", ""]
