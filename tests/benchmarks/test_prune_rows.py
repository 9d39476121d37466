"""Rows of the pruning benchmark: kept once per case, and read back."""

import argparse
import json
from multiprocessing import get_context

import pytest

from benchmarks import large, prune_rows, pruning


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setattr(prune_rows, "RESULTS", tmp_path / "rows.json")
    return tmp_path / "rows.json"


def row(removed, ppl, **more):
    return {"model": "m", "method": "obs", "removed": removed, "without": [], "ppl": ppl} | more


def test_a_row_takes_the_place_of_the_older_one_of_its_case(results):
    prune_rows.keep(row(2, 30.0))
    prune_rows.keep(row(1, 25.0))
    prune_rows.keep(row(2, 29.0))
    assert [r["ppl"] for r in json.loads(results.read_text())] == [25.0, 29.0]
    case = {k: v for k, v in row(2, 0).items() if k != "ppl"}
    assert prune_rows.remembered(case)["ppl"] == 29.0
    assert prune_rows.remembered(case | {"dtype": "int4"}) is None
    assert prune_rows.remembered(case | {"without": ["rms"]}) is None


def _keep(path, removed):
    prune_rows.RESULTS = path
    prune_rows.keep(row(removed, float(removed)))


def test_rows_of_processes_that_write_at_the_same_time_are_all_kept(results):
    spawn = get_context("fork")
    workers = [spawn.Process(target=_keep, args=(results, n)) for n in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(r["removed"] for r in json.loads(results.read_text())) == list(range(12))


def test_each_step_is_left_out_once():
    from tvm_c4n.pruning.recipe import ABLATIONS

    options = {"sparsity": "", "removed": "", "dtypes": "int8", "methods": "obs", "tokens": None}
    args = argparse.Namespace(model="m", windows=1, samples=8, ablate=True, **options)
    dense, whole, *less = pruning.cases(args)
    assert dense["method"] == "dense" and whole["without"] == []
    assert [case["without"] for case in less] == [*([step] for step in ABLATIONS), list(ABLATIONS)]
    assert {case["removed"] for case in less} == {2}


def test_only_whole_layers_are_timed():
    stages = {f"layer 0 {p}": 1.5 for p in large.PROJECTIONS} | {"layer 1 in_proj": 9.0}
    assert large.layer_secs(stages | {"layer 0 first look": 4.0}) == {"0": 6.0}
    assert large.look_secs(stages | {"layer 0 first look": 4.0}) == 4.0
