"""`tvm-c4n compile`: an artifact, and the modules between its phases."""

import json
import shutil
import subprocess

import pytest


def test_an_artifact_and_a_dump_are_written(call, pruned, tmp_path):
    art = tmp_path / "art"
    made = call("compile", pruned, "-o", art, "--debug-dump", tmp_path / "dump")
    assert made.code == 0, made.err
    assert str(art) in made.out
    assert any((tmp_path / "dump").iterdir())
    assert (art / "manifest.json").is_file()


@pytest.mark.slow
def test_a_context_holds_wherever_the_artifact_runs(call, hybrid_model, host_runner, tmp_path):
    model, art = tmp_path / "model", tmp_path / "art"
    shutil.copytree(hybrid_model, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 256}))
    refused = call("compile", model, "-o", art, "--context", 320)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: context 320: use a multiple of 64 up to 256, the tokens")
    assert not art.exists()
    made = call("compile", model, "-o", art, "--context", 128)
    assert made.code == 0, made.err
    assert "context:       128 tokens\n" in made.out
    assert "vocabulary 96, context 128\n" in call("inspect", art).out
    said = "the text has 129 tokens: this model reads 128 at most\n"
    words = {count: "w1 " * count for count in (100, 128)}  # a token stands in front
    assert call("run", art, "-p", words[100], "-n", 1).code == 0
    refused = call("run", art, "-p", words[128], "-n", 1)
    assert (refused.code, refused.err) == (2, f"error: {said}")
    refused = call("bench", art, "--n-prompt", 129, "--n-gen", 0, "-r", 1)
    assert refused.code == 2
    assert "reads 128 tokens at most, not 129; use --n-prompt and --n-gen up to 128" in refused.err
    for count, code in ((128, 0), (129, 2)):
        done = subprocess.run(
            [host_runner, art, "-n", "1"], input="1 " * count, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
    assert done.stderr == f"error: {said}"
    window = call("eval", art, "--window", 192)
    assert (window.code, "this model reads 128 at most" in window.err) == (2, True)
