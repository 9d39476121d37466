"""`tvm-c4n bench`: its tables."""

import json

import pytest

from tvm_c4n.cli.bench import parse_threads, print_profile
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.profile import Profile
from tvm_c4n.evaluate.replay import Stage
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.sustained import Sustained


def test_the_rest_and_the_kernels_add_up_to_the_step(capsys):
    stages = [Stage("in_proj", 2, 40.0, 400_000), Stage("conv1d", 2, 10.0, 0)]
    print_profile("small", Profile(threads=2, stages=stages, step=80.0, call=1.5))
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["in_proj"] == ["in_proj", "2", "40.0", "50.0", "%", "10.0"]
    assert rows["conv1d"] == ["conv1d", "2", "10.0", "12.5", "%"]
    assert rows["rest"][-3:] == ["30.0", "37.5", "%"]
    assert rows["step"] == ["step", "80.0", "100", "%"]


def test_threads_are_numbers():
    assert parse_threads("1,2") == [1, 2]
    assert parse_threads("")[0] >= 1
    with pytest.raises(C4nError, match="--threads"):
        parse_threads("one")


def test_bench_prints_llama_benchs_tests_and_json(call, artifact):
    isa = open_artifact(artifact).manifest.isa
    args = ["bench", artifact, "-p", "8", "-n", "4", "-t", "1", "-r", "2"]  # llama-bench's names
    table = call(*args).out.splitlines()
    assert table[0].split("|")[-2].strip() == "t/s"
    assert [line.split("|")[-3].strip() for line in table[2:4]] == ["pp8", "tg4"]
    assert table[4:] == ["", f"n2.art: mamba 0.0M C4n n=2 int8, TVM {isa}"]
    found = json.loads(call(*args, "-o", "json").out)
    assert [(cell["n_prompt"], cell["n_gen"]) for cell in found] == [(8, 0), (0, 4)]
    assert all(len(cell["samples_ts"]) == 2 for cell in found)
    assert all(cell["model_filename"] == str(artifact) for cell in found)


def test_minutes_show_the_speed_at_first_and_at_last(call, artifact):
    args = ["bench", artifact, "-t", "1", "--sustained", "0.01"]
    lines = call(*args).out.splitlines()
    assert lines[0] == "n2.art, 1 thread, 0.00833 of 0.01 minutes"
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "first 0.5 s",
        "last 0.5 s",
        "last by first",
    ]
    found = json.loads(call(*args, "-o", "json").out)
    assert found["complete"]
    assert found["kept"] == found["last_ts"] / found["first_ts"] == 1


def test_minutes_that_were_interrupted_are_shown_and_end_as_an_interruption(
    call, artifact, monkeypatch
):
    early = Sustained(window_secs=6, asked_secs=120, rates=[10.0, 8.0])
    monkeypatch.setattr("tvm_c4n.runtime.sustained.measure_sustained", lambda *_, **__: early)
    result = call("bench", artifact, "-t", "1", "--sustained", "2")
    assert result.code == 130
    assert "0.2 of 2 minutes" in result.out
