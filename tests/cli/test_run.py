"""`tvm-c4n run`: the text, what stderr tells, and folders that are compiled on the way."""

import shutil

import pytest


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


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ 'w9' if m.role == 'system' else 'w8' }} "
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %} w7{% endif %}"
)


@pytest.fixture(scope="module")
def chatting(small_model, tmp_path_factory):
    """The small model with a chat template."""
    folder = tmp_path_factory.mktemp("chat") / "chatting"
    shutil.copytree(small_model, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<|endoftext|>"}')
    return folder


def test_a_chat_is_answered_as_its_text_is_continued(call, chatting):
    options = ["-n", "8", "--threads", "1"]
    answered = call("run", chatting, "--chat", "-p", "w1 w2", *options)
    assert answered.code == 0, answered.err
    text = "<|endoftext|> w8 w1 w2 w7"  # its first token is the one that stands in front anyway
    wanted = call("run", chatting, "-p", text.removeprefix("<|endoftext|> "), *options)
    assert wanted.out.removesuffix("\n").endswith(answered.out.removesuffix("\n"))
    assert "prompt: 5 tokens" in answered.err and "prompt: 5 tokens" in wanted.err
    told = call("run", chatting, "--chat", "--system", "w3", *options, stdin=b"w1 w2\n")
    assert told.code == 0, told.err
    assert "prompt: 7 tokens" in told.err


def test_the_template_comes_along_to_whatever_is_made_of_a_model(call, chatting, words, tmp_path):
    out, art = tmp_path / "out", tmp_path / "art"
    pruned = call("prune", chatting, "-o", out, "--samples", "4", "--calibration", words)
    assert pruned.code == 0, pruned.err
    assert call("compile", out, "-o", art).code == 0
    for folder in (out, out / "dense", art):
        assert (folder / "chat_template.jinja").read_text() == TEMPLATE
        assert (folder / "tokenizer_config.json").is_file()
    answered = call("run", art, "--chat", "-p", "w1", "-n", "4")
    assert answered.code == 0, answered.err
    assert "prompt: 4 tokens" in answered.err


def test_another_template_is_another_entry_of_the_cache(call, chatting, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "chatting"
    shutil.copytree(chatting, folder)
    for template, tokens in ((TEMPLATE, 5), ("w1 w2 w3", 3)):
        (folder / "chat_template.jinja").write_text(template)
        answered = call("run", folder, "--chat", "-p", "w1 w2", "-n", "4")
        assert f"prompt: {tokens} tokens" in answered.err
