"""Decode beside a busy core: the process that keeps it busy, and the table."""

import time

from benchmarks.contention import busy_core, table
from tvm_c4n.runtime.contention import busy_secs


def test_a_core_is_busy_within_the_block_only():
    with busy_core():
        began, before = time.monotonic(), busy_secs()
        while busy_secs() - before < 0.2:
            assert time.monotonic() - began < 200
            time.sleep(0.05)


def test_the_table_says_what_part_of_the_speed_is_left():
    common = {"type": "busy", "size": "130m", "row": "C4n int4 n=2", "threads": 2}
    common |= {"test": "tg64", "tokens": 64}
    seconds = [(0.08, 0.16), (0.064, 0.128), (0.04, 0.16)]
    lines = [common | {"alone_secs": a, "beside_secs": b} for a, b in seconds]
    row = table([{"type": "run"}, *lines]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["130m tg64, C4n int4 n=2", "2", "3", "1000", "400", "0.40"]
