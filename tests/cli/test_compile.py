"""`tvm-c4n compile`: an artifact, and the modules between its phases."""


def test_an_artifact_and_a_dump_are_written(call, pruned, tmp_path):
    art = tmp_path / "art"
    made = call("compile", pruned, "-o", art, "--debug-dump", tmp_path / "dump")
    assert made.code == 0, made.err
    assert str(art) in made.out
    assert any((tmp_path / "dump").iterdir())
    assert (art / "manifest.json").is_file()
