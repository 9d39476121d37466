"""`tvm-c4n run`: the text, what stderr tells, and folders that are compiled on the way."""

import json
import re
import shutil
import subprocess
import sys

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


@pytest.mark.slow
def test_another_template_is_another_entry_of_the_cache(call, chatting, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "chatting"
    shutil.copytree(chatting, folder)
    for template, tokens in ((TEMPLATE, 5), ("w1 w2 w3", 3)):
        (folder / "chat_template.jinja").write_text(template)
        answered = call("run", folder, "--chat", "-p", "w1 w2", "-n", "4")
        assert f"prompt: {tokens} tokens" in answered.err


def test_the_line_of_figures_says_what_it_took_and_quiet_says_nothing(call, artifact):
    args = ["run", artifact, "-p", "w1 w2", "--n-predict", "3", "-t", "1"]
    shown, quiet = call(*args), call(*args, "--quiet")
    assert quiet.out == shown.out
    assert quiet.err == ""
    figures = (
        r"prompt: 3 tokens, [\d.]+ tokens/s; generated: 3 tokens, [\d.]+ tokens/s; "
        r"loaded in [\d.]+ s; memory: \d+ MB\n"
    )
    assert re.fullmatch(figures, shown.err)


def test_json_is_one_object_with_the_same_text(call, artifact):
    args = ["run", artifact, "-p", "w1 w2", "-n", "3", "-t", "1"]
    found = json.loads(call(*args, "--json", "-q").out)
    assert "w1 w2" + found["text"] + "\n" == call(*args).out
    assert len(found["tokens"]) == found["timings"]["generated_tokens"] == 3
    assert found["finish_reason"] == "length"
    assert found["timings"]["prompt_tokens"] == 3
    assert found["memory_bytes"] > 1 << 20


def test_a_text_ends_before_a_stop_string(call, artifact):
    args = ["run", artifact, "-p", "w1", "-n", "12", "-t", "1", "--json", "-q"]
    whole = json.loads(call(*args).out)["text"]
    stop = whole[10:16]  # two of its words
    found = json.loads(call(*args, "--stop", "none", "--stop", stop).out)
    assert found["text"] == whole[: whole.index(stop)]
    assert found["finish_reason"] == "stop"


def test_samples_are_the_texts_of_their_seeds_and_read_the_prompt_once(call, artifact):
    args = ["run", artifact, "-p", "w1 w2", "-n", "8", "-t", "1", "--temp", "2", "--json", "-q"]
    lines = [json.loads(line) for line in call(*args, "--samples", "3").out.splitlines()]
    alone = [json.loads(call(*args, "--seed", seed).out) for seed in range(3)]
    assert [line["tokens"] for line in lines] == [one["tokens"] for one in alone]
    assert [line["sample"] for line in lines] == [0, 1, 2]
    assert [line["timings"]["prompt_tokens"] for line in lines] == [3, 0, 0]
    told = call(*args[:-2], "--samples", "2")
    assert told.out.count("w1 w2") == 2
    assert told.err.startswith("sample 1 of 2:\n")


def test_filters_leave_the_most_likely_token_alone(call, artifact):
    args = ["run", artifact, "-p", "w1 w2", "-n", "8", "-t", "1"]
    greedy = call(*args).out
    for one in (["--top-k", "1"], ["--top-p", "0"], ["--min-p", "1"]):
        assert call(*args, "--temp", "2", *one).out == greedy
    assert call(*args, "--repeat-penalty", "1.5").out != greedy
    assert call(*args, "--repeat-penalty", "1.5", "--repeat-last-n", "0").out == greedy


def test_a_file_of_prompts_gives_a_line_for_each(call, chatting, tmp_path):
    file = tmp_path / "prompts.jsonl"
    asked = [
        {"prompt": "w1 w2", "id": "first"},
        {"messages": [{"role": "user", "content": "w1 w2"}]},
        {"prompt": "", "id": None},
    ]
    file.write_text("\n".join(map(json.dumps, asked)) + "\n")
    options = ["-n", "4", "-t", "1"]
    assert call("run", chatting, "-p", "w1", *options).code == 0  # says that it compiles
    done = call("run", chatting, "--jsonl", file, *options)
    assert done.code == 0, done.err
    assert done.err == ""
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [line.get("id", "none") for line in lines] == ["first", "none", None]
    chat = call("run", chatting, "--chat", "-p", "w1 w2", *options)
    assert lines[1]["text"] == chat.out.removesuffix("\n")
    assert lines[1]["timings"]["prompt_tokens"] == 5


def test_a_prompt_that_fails_leaves_the_others_their_lines(call, hybrid_artifact, tmp_path):
    file = tmp_path / "prompts.jsonl"
    asked = [{"prompt": "w1"}, {"prompt": "w1 " * 80}, {"prompt": "w2"}]
    file.write_text("\n".join(map(json.dumps, asked)))
    done = call("run", hybrid_artifact, "--jsonl", file, "-n", "4", "-t", "1")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert lines[1]["error"] == "the text has 81 tokens: this model reads 64 at most"
    assert done.code == 2
    assert done.err == 'error: 1 of 3 prompts failed: see "error" of their lines\n'


@pytest.mark.parametrize("kind", ["artifact", "hybrid_artifact"])
def test_a_text_goes_on_from_a_file_of_its_state(call, kind, request, tmp_path):
    """As if it had been one prompt: nothing of the first part is read again."""
    artifact, state = request.getfixturevalue(kind), tmp_path / "a.state"
    args = ["run", artifact, "-t", "1", "--json", "-q"]
    first = json.loads(call(*args, "-p", "w1 w2 w3", "-n", "6", "--save-state", state).out)
    second = call(*args, "-p", "w4 w5", "-n", "6", "--load-state", state)
    assert second.code == 0, second.err
    found = json.loads(second.out)
    assert found["timings"]["prompt_tokens"] == 2
    assert found["timings"]["cached_tokens"] == 4 + 6
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.generate import generate_tokens

    engine = Engine.load(artifact, threads=1)
    ids = [
        *engine.tokenizer.prompt("w1 w2 w3"),
        *first["tokens"],
        *engine.tokenizer.encode("w4 w5"),
    ]
    assert found["tokens"] == list(generate_tokens(engine, ids, 6))
    # Nothing new: the text goes on where it ended.
    more = json.loads(call(*args, "-p", "", "-n", "3", "--load-state", state).out)
    ids = [*engine.tokenizer.prompt("w1 w2 w3"), *first["tokens"]]
    assert more["tokens"] == list(generate_tokens(engine, ids, 3))


def test_a_chat_goes_on_from_a_file_of_its_state(call, chatting, tmp_path):
    state, options = tmp_path / "a.state", ["-n", "4", "-t", "1", "--json", "-q"]
    first = call("run", chatting, "--chat", "-p", "w1", "--save-state", state, *options)
    answer = json.loads(first.out)["text"]
    second = call("run", chatting, "--chat", "-p", "w2", "--load-state", state, *options)
    assert second.code == 0, second.err
    messages = [("user", "w1"), ("assistant", answer), ("user", "w2")]
    file = tmp_path / "a.jsonl"
    said = [{"role": role, "content": content} for role, content in messages]
    file.write_text(json.dumps({"messages": said}))
    wanted = json.loads(call("run", chatting, "--jsonl", file, *options[:4]).out)
    assert json.loads(second.out)["tokens"] == wanted["tokens"]
    plain = tmp_path / "plain.state"
    assert call("run", chatting, "-p", "w1", "--save-state", plain, *options).code == 0
    refused = call("run", chatting, "--chat", "-p", "w2", "--load-state", plain, *options)
    assert refused.err == f"error: {plain}: holds a text and no chat: leave out --chat\n"


def test_a_model_that_is_compiled_runs_without_the_compiler(call, pruned):
    """The compiler, and torch where it is installed, take seconds to load."""
    args = ["run", pruned, "-p", "w1 w2", "-n", "4", "-t", "1", "-q"]
    expected = call(*args).out
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print({'tvm', 'torch'} & set(sys.modules), file=sys.stderr))\n"
        "from tvm_c4n.cli.app import main; main()"
    )
    command = [sys.executable, "-c", program, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (expected, "set()\n")
