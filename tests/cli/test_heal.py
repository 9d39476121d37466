"""`tvm-c4n heal`: what it says and what it leaves."""

import signal

import pytest


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


def test_first_spellings_are_hidden(call):
    shown = call("heal", "--help").out
    assert "--mask-update-fraction" in shown and "--label-loss" in shown
    assert "--relearn" not in shown and "--hard" not in shown
