"""`tvm-c4n convert`: what it says, and that the other verbs take what it writes."""

from tests.frontend.original.made import CODESTRAL, MAMBA1, MAMBA2, write_original
from tests.models import write_tokenizer


def test_a_model_without_a_tokenizer(call, tmp_path):
    source = write_original(tmp_path / "mamba", MAMBA1)
    made = call("convert", source, "-o", tmp_path / "out")
    assert made.code == 0, made.err
    assert made.out.splitlines() == [
        "model:         mamba, 2 layers, hidden 16, vocabulary 96, 0.03 MB",
        f"converted:     {tmp_path / 'out'}",
        "files:         none beside config and weights",
        f"missing:       tokenizer.json; put that of EleutherAI/gpt-neox-20b into {tmp_path}/out",
        f"next:          tvm-c4n prune {tmp_path / 'out'} -o pruned",
    ]
    write_tokenizer(tmp_path / "out")
    assert "2 layers, hidden 16" in call("inspect", tmp_path / "out").out


def test_what_is_converted_is_run(call, tmp_path):
    source = write_original(tmp_path / "codestral", CODESTRAL)
    made = call("convert", source, "-o", tmp_path / "out")
    assert made.code == 0, made.err
    assert "files:         tokenizer.json\n" in made.out
    assert "missing" not in made.out
    ran = call("run", tmp_path / "out", "-p", "w3", "-n", 3)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("w3")
    assert "generated: " in ran.err


def test_what_is_converted_is_pruned(call, words, tmp_path):
    source = write_original(tmp_path / "mamba2", MAMBA2, file="model.safetensors")
    write_tokenizer(source)
    assert call("convert", source, "-o", tmp_path / "out").code == 0
    options = ["--samples", 4, "--calibration", words, "--dtype", "int8"]
    pruned = call("prune", tmp_path / "out", "-o", tmp_path / "n2", *options)
    assert pruned.code == 0, pruned.err
    assert "bcdt_proj" in pruned.out
