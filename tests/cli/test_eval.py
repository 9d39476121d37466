"""`tvm-c4n eval`: perplexity and tasks, of artifacts and of folders."""

import json


def test_a_folder_scores_as_its_artifact(call, artifact, pruned, words):
    score = ["--text", words, "--window", "64", "--max-windows", "2"]
    of_artifact, of_folder = call("eval", artifact, *score), call("eval", pruned, *score)
    assert of_artifact.out.startswith("PPL = ")
    assert "128 tokens in 2 windows" in of_artifact.out
    assert "bits per byte" in of_artifact.out
    assert of_artifact.out == of_folder.out
    one = call("eval", artifact, "--text", words, "--window", "64", "--max-windows", "1")
    assert "64 tokens in 1 window;" in one.out


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


def test_windows_are_as_long_as_a_short_context(
    call, hybrid_model, hybrid_artifact, words, tmp_path
):
    tasks = tmp_path / "tasks.jsonl"
    item = {"context": "w1 " * 100, "options": ["w2 w3 w4", "w5"], "answer": 0}
    tasks.write_text(json.dumps(item) + "\n")
    for command in ([hybrid_artifact], [hybrid_model, "--backend", "torch"]):
        score = call("eval", *command, "--text", words, "--max-windows", 2, "--tasks", tasks)
        assert score.code == 0, score.err
        assert "128 tokens in 2 windows" in score.out
        longer = call("eval", *command, "--text", words, "--window", 65)
        assert (longer.code, longer.out) == (2, "")
        assert "windows of 65 tokens: this model reads 64 at most" in longer.err
