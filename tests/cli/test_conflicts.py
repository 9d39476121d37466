"""Options that exclude or need each other are refused at once."""

import pytest


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["prune", "--removed", "2", "--size", "1MB"], "--removed and --size exclude each other"),
        (["prune", "--removed", "2", "--sparsity", "0.3"], "--removed and --sparsity exclude"),
        (["prune", "--dtype", "int8", "--ppl-ratio", "1.1"], "--dtype and --ppl-ratio exclude"),
        (["prune", "--latency-table", "rec"], "--latency-table needs --latency"),
        (["bench", "--profile", "--reps", "2"], "--reps needs a run without --profile"),
        (["eval", "--max-items", "2"], "--max-items needs --tasks"),
        (["eval", "--tasks", "blimp", "--window", "64"], "--window needs --text"),
        (["tune", "--local", "--devices", "2"], "--devices needs --tracker"),
        (["deploy", "--device", "adb", "--reps", "2"], "--reps needs --bench"),
        (["deploy", "--device", "adb", "--bench", "-p", "a"], "--prompt needs a run without"),
        (["deploy", "--device", "rpc://a:1", "--runner", "r"], "--runner needs --device adb"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_opened(call, tmp_path, args, named):
    verb, *options = args
    more = {"prune": ["-o", tmp_path / "out"], "tune": ["--records", tmp_path / "r"]}
    result = call(verb, tmp_path / "no-such-model", *options, *more.get(verb, []))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert named in result.err


def test_defaults_conflict_with_nothing(call, tmp_path):
    result = call("prune", tmp_path / "none", "-o", tmp_path / "out", "--size", "1MB")
    assert "no such folder" in result.err
