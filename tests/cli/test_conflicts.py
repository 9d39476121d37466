"""Options that exclude or need each other: `tests/cli/errors` has a row for each rule."""


def test_defaults_conflict_with_nothing(call, tmp_path):
    result = call("prune", tmp_path / "none", "-o", tmp_path / "out", "--size", "1MB")
    assert "no such folder" in result.err
