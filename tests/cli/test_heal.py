"""`tvm-c4n heal`: what it says and what it leaves."""


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


def test_first_spellings_are_hidden(call):
    shown = call("heal", "--help").out
    assert "--mask-update-fraction" in shown and "--label-loss" in shown
    assert "--relearn" not in shown and "--hard" not in shown
