"""Modules without anything of ours: variants interleaved, and the table."""

import numpy as np

from benchmarks.modules import VARIANTS, time_case, times_table
from tests.zoo import ZOO


def test_all_variants_are_measured_equally_often(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.modules.LOADS", 1)
    monkeypatch.setattr("benchmarks.modules.BUDGET_SECS", 0)
    case = ZOO["mlp"](0, False)
    found = time_case(case.mod, case.inputs, tmp_path)
    assert [len(found[variant]) for variant in VARIANTS] == [6, 6, 6]
    assert np.min(list(found.values())) > 0


def test_the_ratio_is_to_the_better_of_tvms():
    millis = {"tvm": {"p50": 2.0}, "fused": {"p50": 1.0}, "ours": {"p50": 0.5}}
    row = times_table({"mlp": millis}).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")][-1] == "0.50"
