"""Decode with a slow core: the process that makes it slow, and the table."""

import os
import time

from benchmarks.machine import HERE, compile_c
from benchmarks.uneven import FIRST, SLOW, running, table
from tvm_c4n.runtime.contention import own_secs


def test_the_process_takes_a_part_of_the_core_while_it_runs(monkeypatch):
    monkeypatch.setattr(os, "nice", lambda _: 0)
    program = compile_c(HERE / "slow_core.c")
    before = own_secs()
    with running([str(program), "0", "100", "10"]):
        time.sleep(0.4)
    assert own_secs() - before > 0.05


def test_the_table_says_what_is_kept_of_what_both_cores_could_give():
    samples = {
        "split": {"even": [0.010, 0.011, 0.009], "uneven": [0.020, 0.020, 0.021]},
        "taken": {"even": [0.010, 0.011, 0.010], "uneven": [0.014, 0.013, 0.014]},
        FIRST: {"uneven": [0.02]},
        SLOW: {"uneven": [0.04]},
    }
    split, taken = table({"370m": samples}).splitlines()[-2:]
    cells = [[c.strip() for c in row.strip("|").split("|")] for row in (split, taken)]
    assert cells[0] == ["370m", "split", "10.000", "1.000", "20.000", "0.50", "0.67"]
    assert cells[1] == ["370m", "taken", "10.000", "1.000", "14.000", "0.50", "0.95"]
