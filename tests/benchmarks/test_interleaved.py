"""Interleaved rounds: who is measured when, and what the log keeps."""

import pytest

from benchmarks import contenders, interleaved
from benchmarks.contenders import Test as Workload
from benchmarks.interleaved import Log, measure, read_log


class Contender(contenders.Contender):
    engine, size, weight_bytes = "tvm_c4n", "130m", 100

    def __init__(self, name, most_threads, calls):
        self.name, self.most_threads, self.calls = name, most_threads, calls
        self.opened = False

    def make(self):
        raise AssertionError("open makes the files")

    def open(self):
        self.opened = True

    def token_bytes(self, test):
        return self.weight_bytes + test.n_gen

    def measure(self, test, threads):
        assert self.opened
        self.calls.append((self.name, threads))
        return 2.0


@pytest.fixture
def no_bandwidth(monkeypatch):
    found = {1: {"plain": 10.0}, 2: {"plain": 20.0}}
    monkeypatch.setattr(interleaved, "measure_bandwidth", lambda threads: found)


@pytest.mark.usefixtures("no_bandwidth")
def test_each_round_begins_one_sample_later(tmp_path):
    calls = []
    found = [Contender(name, 2, calls) for name in "abc"]
    measure(found, [Workload(0, 8)], [1], 3, Log(tmp_path / "log.jsonl"))
    assert "".join(name for name, _ in calls) == "abc" + "bca" + "cab"


@pytest.mark.usefixtures("no_bandwidth")
def test_no_contender_runs_with_more_threads_than_it_can_use(tmp_path):
    calls = []
    found = [Contender("a", 2, calls), Contender("b", 1, calls)]
    measure(found, [Workload(0, 8)], [1, 2], 1, Log(tmp_path / "log.jsonl"))
    assert calls == [("a", 1), ("b", 1), ("a", 2)]


@pytest.mark.usefixtures("no_bandwidth")
def test_the_log_keeps_every_sample_and_the_bandwidth_of_each_round(tmp_path):
    file = tmp_path / "log.jsonl"
    measure([Contender("a", 2, [])], [Workload(512, 0)], [1], 2, Log(file))
    lines = read_log([file])
    assert [line["type"] for line in lines] == ["run", *["bandwidth", "bandwidth", "sample"] * 2]
    sample = lines[-1]
    assert (sample["row"], sample["test"], sample["tokens"]) == ("a", "pp512", 512)
    assert (sample["secs"], sample["weight_bytes"], sample["token_bytes"]) == (2.0, 100, 100)
    assert sample["others"] >= 0
