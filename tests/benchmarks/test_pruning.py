"""Rows of the pruning benchmark: kept once per case, and read back."""

import json
from multiprocessing import get_context

import pytest

from benchmarks.pruning import (
    RowFile,
    _variant,
    allocation_cases,
    method_cases,
    print_rows,
    size_cases,
)


@pytest.fixture
def table(tmp_path):
    return RowFile(tmp_path / "rows.json")


def row(removed, ppl, **more):
    return {"model": "m", "method": "obs", "removed": removed, "without": [], "ppl": ppl} | more


def test_a_row_takes_the_place_of_the_older_one_of_its_case(table):
    table.keep(row(2, 30.0))
    table.keep(row(1, 25.0))
    table.keep(row(2, 29.0))
    assert [r["ppl"] for r in json.loads(table.file.read_text())["rows"]] == [25.0, 29.0]
    case = {k: v for k, v in row(2, 0).items() if k != "ppl"}
    assert table.find(case)["ppl"] == 29.0
    assert table.find(case | {"dtype": "int4"}) is None
    assert table.find(case | {"without": ["rms"]}) is None


def _keep(path, removed):
    RowFile(path).keep(row(removed, float(removed)))


def test_rows_of_processes_that_write_at_the_same_time_are_all_kept(table):
    fork = get_context("fork")
    workers = [fork.Process(target=_keep, args=(table.file, n)) for n in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(r["removed"] for r in table.rows()) == list(range(12))


def test_each_step_is_left_out_once():
    from tvm_c4n.pruning.recipe import ABLATIONS

    whole, unrotated, *less = method_cases("", ["magnitude"], ["int8"], ablate=True)
    assert whole["without"] == unrotated["without"] == []
    assert whole["rotate"] and not unrotated["rotate"]
    assert [case["without"] for case in less] == [*([step] for step in ABLATIONS), list(ABLATIONS)]
    assert {(case["removed"], case["method"]) for case in less} == {(2, "obs")}


def test_a_share_that_is_no_quarter_has_no_uniform_allocation():
    cases = allocation_cases("0.3,0.5", ["obs"], ["int8"])
    found = [(case["sparsity"], case["allocation"]) for case in cases]
    assert found == [
        *((0.3, "exact"), (0.3, "greedy")),
        *((0.5, "exact"), (0.5, "greedy"), (0.5, "uniform")),
    ]


def test_other_methods_allocate_exactly():
    cases = allocation_cases("0.3", ["obs", "wanda"], ["int8"])
    found = [(case["method"], case["allocation"]) for case in cases]
    assert found == [("obs", "exact"), ("obs", "greedy"), ("wanda", "exact")]


def test_a_row_says_what_is_not_the_default():
    assert _variant(row(2, 30.0)) == "obs unrotated"
    assert _variant(row(2, 29.0, rotate=True, repair=384)) == "obs repaired on 384"
    named = _variant(row(2, 29.0, rotate=True, seed=1, scale_group=64))
    assert named == "obs seed 1 scales of 64"


def test_sizes_are_cases_of_their_own_and_rows_name_them(table, capsys):
    cases = [{"model": "m", **case} for case in size_cases("8.55,9")]
    assert [case["megabytes"] for case in cases] == [8.55, 9.0]
    errors = {"in_proj": 0.1, "out_proj": 0.2}
    figures = {"output_error": errors, "masked_error": errors, "packed_bytes": 9e6, "run_secs": 1.0}
    dense = {"model": "m", "method": "dense"}
    table.keep(dense | {"ppl": 20.0})
    table.keep(cases[1] | figures | {"ppl": 22.0})
    assert table.find(cases[0]) is None
    print_rows([dense, *cases], table, "m")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split()[:5] == ["9", "MB", "mixture", "obs", "1.1000"]
