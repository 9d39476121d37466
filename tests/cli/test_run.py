"""`tvm-c4n run`: the text, what stderr tells, and folders that are compiled on the way."""


def test_a_prompt_is_continued_alike_unless_it_is_drawn(call, artifact):
    args = ["run", artifact, "--prompt", "w1 w2", "-n", "8", "--threads", "1"]
    first, second = call(*args), call(*args)
    assert first.code == 0, first.err
    assert first.out == second.out
    assert first.out.startswith("w1 w2")
    assert "tokens/s" in first.err
    drawn = {call(*args, "--temp", "3", "--seed", seed).out for seed in ("1", "1", "2")}
    assert len(drawn) == 2


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
    assert "compiling" not in measured.err
    assert measured.out.splitlines()[-1].startswith(f"{pruned.name}: mamba 0.0M C4n n=2 int8, ")


def test_a_prompt_comes_from_a_file_or_a_pipe_as_well(call, artifact, tmp_path):
    args = ["run", artifact, "-n", "8", "--threads", "1"]
    wanted = call(*args, "-p", "w1 w2").out
    file = tmp_path / "prompt.txt"
    file.write_text("w1 w2\n")
    assert call(*args, "-f", file).out == wanted
    assert call(*args, stdin=b"w1 w2\n").out == wanted
    assert call(*args, "-f", "-", stdin=b"w1 w2\n").out == wanted
