"""`tvm-c4n bench --profile`: every kernel of the step is there, once a layer, and times add up."""

import json

import pytest

from tvm_c4n.cli.bench import print_profile
from tvm_c4n.evaluate.profile import Profile, Stage


@pytest.fixture(scope="module")
def layers(pruned):
    return json.loads((pruned / "config.json").read_text())["num_hidden_layers"]


def test_profile_names_every_kernel(call, pruned, layers):
    result = call("bench", pruned, "--profile", "-t", "1", "-r", "1", "-o", "json")
    assert result.code == 0, result.err
    [found] = json.loads(result.out)
    calls = {stage["name"]: stage["calls"] for stage in found["stages"]}
    projections = ("in_proj", "x_proj", "dt_proj", "out_proj")
    assert {name: calls[name] for name in projections} == dict.fromkeys(projections, layers)
    assert calls["selective_scan"] == calls["conv1d"] == layers
    assert calls["head"] == 1
    assert calls["rms_norm"] == layers + 1
    assert found["step"] > 0
    sizes = {stage["name"]: stage["size_bytes"] for stage in found["stages"]}
    # n=2 int8 of (128, 32): at least the kept values; and other kernels have no weights to stream.
    assert sizes["in_proj"] >= layers * 128 * 32 / 2
    assert sizes["selective_scan"] == 0


def test_the_rest_and_the_kernels_add_up_to_the_step(capsys):
    stages = [Stage("in_proj", 2, 40.0, 400_000), Stage("conv1d", 2, 10.0, 0)]
    print_profile("small", Profile(threads=2, stages=stages, step=80.0, call=1.5))
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["in_proj"] == ["in_proj", "2", "40.0", "50.0", "%", "10.0"]
    assert rows["conv1d"] == ["conv1d", "2", "10.0", "12.5", "%"]
    assert rows["rest"][-3:] == ["30.0", "37.5", "%"]
    assert rows["step"] == ["step", "80.0", "100", "%"]


def test_profile_wants_the_model_and_not_the_artifact(call, artifact):
    result = call("bench", artifact, "--profile")
    assert result.code == 2
    assert "--profile takes the model folder" in result.err
