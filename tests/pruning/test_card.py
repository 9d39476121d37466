"""The card of a pruned folder says what was done, and its command does it again."""

import shlex

import pytest

from tvm_c4n.pruning import Recipe, prune

RECIPE = Recipe(removed=1, dtype="int8", method="magnitude", samples=2, sample_tokens=16)


@pytest.fixture(scope="module")
def pruned(small_model, words, tmp_path_factory):
    out = tmp_path_factory.mktemp("card") / "out"
    prune(small_model, out, RECIPE, calibration=words)
    return out


def test_what_it_says(pruned, small_model):
    card = (pruned / "README.md").read_text()
    assert f'base_model: "{small_model.name}"' in card
    assert 'tags: ["c4n", "pruned", "sparsity", "mamba", "int8"]' in card
    assert "| `in_proj` | 2 | 1 | int8 |" in card
    assert "2 calibration windows of 16 tokens of `words.jsonl`, seed 0" in card
    assert "`dense` is the same model" in card
    assert "MB of the base" in card


def test_the_same_model_gives_the_same_card(pruned, small_model, words, tmp_path):
    prune(small_model, tmp_path / "out", RECIPE, calibration=words)
    assert (tmp_path / "out/README.md").read_bytes() == (pruned / "README.md").read_bytes()


def test_the_command_makes_the_model_again(pruned, small_model, words, call, monkeypatch, tmp_path):
    card = (pruned / "README.md").read_text()
    (command,) = [line for line in card.splitlines() if line.startswith("tvm-c4n prune")]
    _, *arguments = shlex.split(command.replace("TEXT", str(words)))
    arguments[arguments.index("-o") + 1] = str(tmp_path / "again")
    arguments[1] = str(small_model)
    monkeypatch.chdir(pruned)
    done = call(*arguments)
    assert done.code == 0, done.err
    for file in ("model.safetensors", "c4n.json"):
        assert (tmp_path / "again" / file).read_bytes() == (pruned / file).read_bytes()
