"""`tvm-c4n bench`: its tables."""

from tvm_c4n.cli.bench import print_profile
from tvm_c4n.evaluate.profile import Profile, Stage


def test_the_rest_and_the_kernels_add_up_to_the_step(capsys):
    stages = [Stage("in_proj", 2, 40.0, 400_000), Stage("conv1d", 2, 10.0, 0)]
    print_profile("small", Profile(threads=2, stages=stages, step=80.0, call=1.5))
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["in_proj"] == ["in_proj", "2", "40.0", "50.0", "%", "10.0"]
    assert rows["conv1d"] == ["conv1d", "2", "10.0", "12.5", "%"]
    assert rows["rest"][-3:] == ["30.0", "37.5", "%"]
    assert rows["step"] == ["step", "80.0", "100", "%"]


def test_profile_takes_the_model_and_not_the_artifact(call, artifact):
    result = call("bench", artifact, "--profile")
    assert result.code == 2
    assert "--profile takes the model folder" in result.err
