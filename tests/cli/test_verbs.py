"""Each verb once on a small model: what it prints and what it leaves."""

import json

import numpy as np
import pytest

from tvm_c4n.cli.bench import parse_threads
from tvm_c4n.cli.prune import parse_removed
from tvm_c4n.errors import C4nError, RecipeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("in_proj=2,out_proj=1", {"in_proj": 2, "out_proj": 1}),
        (" in_proj = 3 ", {"in_proj": 3}),
        ("layers.3.out_proj=1", {"layers.3.out_proj": 1}),
    ],
)
def test_removed_is_a_number_or_one_per_projection(text, expected):
    assert parse_removed(text) == expected


@pytest.mark.parametrize(
    "text", ["", "two", "in_proj=", "=2", "in_proj=2,", "in_proj=2,in_proj=1", "in_proj=2;x=1"]
)
def test_other_values_of_removed_are_refused(text):
    with pytest.raises(RecipeError, match="--removed"):
        parse_removed(text)


def test_threads_are_numbers():
    assert parse_threads("1,2") == [1, 2]
    assert parse_threads("")[0] >= 1
    with pytest.raises(C4nError, match="--threads"):
        parse_threads("one")


def test_prune_says_what_it_did_and_where_it_is(call, small_model, words, tmp_path):
    out = tmp_path / "out"
    args = ["prune", small_model, "-o", out, "--removed", "in_proj=3,out_proj=1"]
    args += ["--dtype", "int8", "--calibration", words, "--samples", "4", "--method", "magnitude"]
    result = call(*args)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    in_proj = next(line for line in lines if line.startswith("in_proj"))
    assert "3 of 4 removed" in in_proj
    assert "int8" in in_proj
    assert "1 of 4 removed" in next(line for line in lines if line.startswith("out_proj"))
    assert " -> " in next(line for line in lines if line.startswith("on disk"))
    assert str(out / "dense") in result.out
    assert (out / "dense" / "model.safetensors").is_file()
    report = json.loads((out / "report.json").read_text())
    assert report["recipe"]["method"] == "magnitude"
    assert report["recipe"]["samples"] == 4
    mean = np.mean([p["output_error"] for p in report["projections"] if p["removed"] == 3])
    assert f"{mean:.4f}" in in_proj
    # The second time the folder is there.
    again = call(*args)
    assert again.code == 2
    assert again.err.startswith("error: ")
    assert call(*args, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--removed", "4", "removed"),
        ("--removed", "lm_head=1", "lm_head"),
        ("--method", "best", "best"),
        ("--dtype", "int2", "int2"),
        ("--samples", "0", "samples"),
        ("--calibration", "/no/such/file", "/no/such/file"),
    ],
)
def test_prune_names_what_is_wrong_in_one_line(call, small_model, tmp_path, option, value, named):
    result = call("prune", small_model, "-o", tmp_path / "out", option, value)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert named in result.err
    assert list(tmp_path.iterdir()) == []


def test_inspect_reads_all_three_kinds_of_folder(call, small_model, pruned, artifact):
    dense = call("inspect", small_model)
    assert "Hugging Face folder" in dense.out
    assert "of 4 removed" not in dense.out
    for folder, kind in ((pruned, "C4n folder"), (artifact, "artifact")):
        found = call("inspect", folder)
        assert kind in found.out
        lines = found.out.splitlines()
        in_proj = next(line for line in lines if line.startswith("in_proj")).split()
        assert "n=2: 2 of 4 removed" in " ".join(in_proj)
        assert in_proj[-4:-2] == ["int8", "128"]
        x_proj = next(line for line in lines if line.startswith("x_proj")).split()
        assert x_proj[2] == "dense"
    export = call("inspect", pruned / "dense")
    assert export.out.count("2 of 4 removed") == 2


def test_compile_run_and_eval(call, pruned, words, tmp_path):
    art = tmp_path / "art"
    made = call("compile", pruned, "-o", art, "--debug-dump", tmp_path / "dump")
    assert made.code == 0, made.err
    assert str(art) in made.out
    assert any((tmp_path / "dump").iterdir())
    args = ["run", art, "--prompt", "w1 w2", "-n", "8", "--threads", "1"]
    first, second = call(*args), call(*args)
    assert first.code == 0, first.err
    assert first.out == second.out
    assert first.out.startswith("w1 w2")
    assert "tokens/s" in first.err
    drawn = {call(*args, "--temp", "3", "--seed", seed).out for seed in ("1", "1", "2")}
    assert len(drawn) == 2
    score = ["--text", words, "--window", "64", "--max-windows", "2"]
    of_artifact, of_folder = call("eval", art, *score), call("eval", pruned, *score)
    assert of_artifact.out.startswith("PPL = ")
    assert "128 tokens in 2 windows" in of_artifact.out
    assert "bits per byte" in of_artifact.out
    assert of_artifact.out == of_folder.out


def test_run_compiles_a_folder_once(call, pruned, artifact, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    args = ["run", pruned, "-p", "w1 w2", "-n", "8", "--threads", "1"]
    first, second = call(*args), call(*args)
    assert first.code == second.code == 0, first.err
    assert first.out == second.out == call("run", artifact, *args[2:]).out
    told = first.err.splitlines()
    assert len(told) == 2
    assert told[0].startswith(f"compiling {pruned.name} for this CPU, once; kept in {tmp_path}")
    assert told[1].startswith("prompt: 3 tokens, ")
    assert len(second.err.splitlines()) == 1
    measured = call("bench", pruned, "--n-prompt", "0", "--n-gen", "4", "--reps", "1")
    assert measured.err == ""  # nothing was compiled again
    assert measured.out.splitlines()[2].split("|")[1].strip().startswith(f"{pruned.name}: mamba")


def test_bench_prints_llama_benchs_table_and_json(call, artifact):
    args = ["bench", artifact, "--n-prompt", "8", "--n-gen", "4", "--threads", "1", "--reps", "2"]
    table = call(*args).out.splitlines()
    assert table[0].split("|")[-2].strip() == "t/s"
    assert [line.split("|")[-3].strip() for line in table[2:]] == ["pp8", "tg4"]
    found = json.loads(call(*args, "-o", "json").out)
    assert [(cell["n_prompt"], cell["n_gen"]) for cell in found] == [(8, 0), (0, 4)]
    assert all(len(cell["samples_ts"]) == 2 for cell in found)
    assert all(cell["model_filename"] == str(artifact) for cell in found)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["run", "{tmp}/none"], "none: no such folder; give one, or one of mamba-19m, "),
        (["run", "{tmp}"], "config.json"),
        (["run", "{art}", "-n", "0"], "0 tokens"),
        (["run", "{art}", "--temp", "-1"], "temperature"),
        (["run", "{art}", "--threads", "0"], "threads"),
        (["bench", "{art}", "--reps", "0"], "nothing to measure"),
        (["bench", "{art}", "--threads", "4096"], "4096"),
        (["compile", "{model}", "-o", "{tmp}/a", "--target", "vax"], "vax"),
        (["compile", "{model}", "-o", "{tmp}/a", "--dtype", "int1"], "int1"),
        (["eval", "{art}", "--text", "{tmp}/none.txt"], "none.txt"),
        (["eval", "{art}", "--window", "0"], "windows of 0"),
        (["inspect", "{tmp}"], "config.json"),
    ],
)
def test_users_errors_are_one_line(call, artifact, small_model, tmp_path, args, named):
    filled = [arg.format(tmp=tmp_path, art=artifact, model=small_model) for arg in args]
    result = call(*filled)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert named in result.err
    assert list(tmp_path.iterdir()) == []


def test_eval_scores_tasks_with_compiled_code_and_with_torch_alike(
    call, artifact, pruned, tmp_path
):
    tasks = tmp_path / "pairs.jsonl"
    lines = [{"context": f"w{n}", "options": ["w1 w2", "w3"], "answer": n % 2} for n in range(2, 9)]
    tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [
        call("eval", artifact, "--tasks", tasks),
        call("eval", pruned, "--tasks", tasks, "--backend", "torch"),
    ]
    rows = [
        next(line for line in result.out.splitlines() if line.startswith("pairs")).split()
        for result in found
    ]
    assert rows[0] == rows[1]
    assert rows[0][1] == "7"
    assert "PPL" not in found[0].out
    wrong = call("eval", pruned, "--tasks", tasks, "--backend", "numpy")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def test_heal_says_what_it_gained(call, pruned, small_model, words, tmp_path):
    out = tmp_path / "healed"
    result = call(
        "heal", pruned, "-o", out, "--teacher", small_model, "--data", words, "--device", "cpu",
        "--tokens", 2560, "--batch", 8, "--window", 16, "--held-out", 8,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "perplexity over small's on held-out text" in result.out
    assert (out / "heal.json").is_file()
    again = call("heal", pruned, "-o", out, "--teacher", small_model, "--data", words)
    assert again.code == 2
