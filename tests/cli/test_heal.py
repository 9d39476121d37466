"""`tvm-c4n heal`: what it says and what it leaves."""

import signal

import pytest

from tvm_c4n.healing.settings import HealSettings

WEIGHTS = "model.safetensors"


def test_heal_says_what_it_gained(call, pruned, small_model, words, tmp_path):
    out = tmp_path / "healed"
    result = call(
        "heal", pruned, "-o", out, "--teacher", small_model, "--data", words, "--device", "cpu",
        "--tokens", 2560, "--batch", 8, "--window", 16, "--held-out", 8,
    )  # fmt: skip
    assert result.code == 0, result.err
    lines = [line.partition(":")[0] for line in result.out.splitlines()]
    assert lines == [
        "perplexity", "divergence", "measured on", "trained for", "healed model", "next"
    ]  # fmt: skip
    assert result.out.splitlines()[0].endswith(" times small's")
    assert (out / "heal.json").is_file()
    again = call("heal", pruned, "-o", out, "--teacher", small_model, "--data", words)
    assert again.code == 2
    recipe = ("--recipe", out / "heal.json", "--device", "cpu")
    repeated = tmp_path / "repeated"
    args = ["heal", pruned, "-o", repeated, "--teacher", small_model, "--data", words]
    assert call(*args, *recipe).code == 0
    assert (repeated / WEIGHTS).read_bytes() == (out / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_a_signal_stopped_goes_on(
    call, pruned, small_model, words, tmp_path, monkeypatch, number, code
):
    from tvm_c4n.healing.train import Trainer

    out = tmp_path / "healed"
    args = ["heal", pruned, "-o", out, "--teacher", small_model, "--data", words, "--device", "cpu"]
    args += ["--tokens", 1280, "--batch", 8, "--window", 16, "--held-out", 8]
    step = Trainer.step

    def stopped(self, done, *rest):
        if done == 4:
            signal.raise_signal(number)
        return step(self, done, *rest)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step", stopped)
            result = call(*args)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.code, result.out) == (code, "")
    assert result.err == f"stopped; the same command resumes from {out}.healing.safetensors\n"
    assert [path.name for path in tmp_path.iterdir()] == ["healed.healing.safetensors"]
    assert call(*args).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["healed"]


def test_a_recipe_says_how_to_train(call, pruned, tmp_path):
    shown = call("heal", pruned, "--tokens", 2560, "--window", 16, "--lr", 0.002, "--show-recipe")
    assert shown.code == 0, shown.err
    (tmp_path / "recipe.yaml").write_text(shown.out)
    settings = HealSettings(tokens=2560, window=16, lr=0.002)
    assert HealSettings.from_file(tmp_path / "recipe.yaml") == settings
    (tmp_path / "recipe.yaml").write_text("tokns: 5")
    wrong = call("heal", pruned, "--recipe", tmp_path / "recipe.yaml", "--show-recipe")
    assert wrong.code == 2
    assert "tokns=5: a recipe has no such key; the nearest is tokens" in wrong.err
    missing = call("heal", pruned)
    said = "give --out FOLDER, --teacher MODEL and --data TEXT, or --show-recipe"
    assert (missing.code, said in missing.err) == (2, True)


def test_first_spellings_are_hidden(call):
    shown = call("heal", "--help").out
    assert "--mask-update-fraction" in shown and "--label-loss" in shown
    assert "--relearn" not in shown and "--hard" not in shown
