"""Healing from folder to folder."""

import json
import os
import signal
import threading

import numpy as np
import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import CheckpointError, RecipeError
from tvm_c4n.healing import heal
from tvm_c4n.healing.state import state_path


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def masks(folder):
    checkpoint = open_checkpoint(folder)
    packed = {name: checkpoint.weight(name) for name in checkpoint.names()}
    return {name: weight.mask() for name, weight in packed.items() if weight and weight.removed}


@pytest.fixture(scope="module")
def healed(pruned, small_model, words, tmp_path_factory):
    """A healing with fixed masks, judged on its own text: its folder and report."""
    from tvm_c4n.healing import HealSettings

    out = tmp_path_factory.mktemp("healed") / "out"
    settings = HealSettings(tokens=60 * 8 * 16, batch=8, window=16, held_out=16, lr=5e-3)
    judge = {"words": words}
    return out, heal(pruned, out, small_model, [words], settings, judge=judge)


def test_the_folder_is_nearer_to_the_teacher_and_of_the_same_kind(healed, pruned):
    out, report = healed
    assert report.after.divergence < 0.75 * report.before.divergence
    before, after = open_checkpoint(pruned), open_checkpoint(out)
    assert before.names() == after.names()
    for name in before.names():
        old, new = before.weight(name), after.weight(name)
        assert (old is None) == (new is None)
        if old is not None:
            assert (old.removed, old.dtype, old.scale_group) == (
                new.removed,
                new.dtype,
                new.scale_group,
            )
            assert old.size_bytes == new.size_bytes
    assert json.loads((out / "heal.json").read_text())["after"]["divergence"] > 0
    assert (out / "dense" / "model.safetensors").is_file()
    assert f" {report.after.ratio:.4f} |" in (out / "README.md").read_text()
    assert not state_path(out).exists()


def test_each_text_to_judge_by_is_measured_before_and_after(healed):
    out, report = healed
    judgement = report.judged["words"]
    assert judgement.after.divergence < 0.75 * judgement.before.divergence
    assert judgement.after.divergence != report.after.divergence  # of all windows, not of the last
    stored = json.loads((out / "heal.json").read_text())["judged"]["words"]
    assert stored["after"]["ratio"] == judgement.after.ratio
    assert report.worst == "words"


def test_masks_stay_unless_they_may_move(healed, pruned, small_model, words, settings, tmp_path):
    old, new = masks(pruned), masks(healed[0])
    assert all(np.array_equal(old[name], new[name]) for name in old)
    heal(
        pruned,
        tmp_path / "moved",
        small_model,
        [words],
        settings(mask_update_fraction=0.5),
        dense_export=False,
    )
    moved = masks(tmp_path / "moved")
    assert any(not np.array_equal(old[name], moved[name]) for name in old)


def test_the_same_seed_gives_the_same_bytes_and_another_others(
    pruned, small_model, words, settings, tmp_path
):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        heal(
            pruned,
            tmp_path / name,
            small_model,
            [words],
            settings(6, seed=seed),
            dense_export=False,
        )
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    pruned, small_model, words, settings, tmp_path
):
    # A job of a script's background may have been started with interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plan = settings(20, mask_update_fraction=0.5)

    stages = []

    def interrupt(what, done, total):
        stages.append((what.split()[0], done, total))
        if stages[-1] == ("loss", 10, 20):
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        heal(
            pruned,
            tmp_path / "b",
            small_model,
            [words],
            plan,
            progress=interrupt,
            dense_export=False,
        )
    # Each step is reported on a processor.
    assert stages[-2:] == [("loss", 10, 20), ("stopping", 10, 20)]
    assert ("training", 0, 20) in stages
    assert not (tmp_path / "b").exists()
    assert state_path(tmp_path / "b").exists()
    with pytest.raises(CheckpointError, match="belongs to a healing with another"):
        heal(pruned, tmp_path / "b", small_model, [words], settings(21), dense_export=False)
    heal(pruned, tmp_path / "b", small_model, [words], plan, dense_export=False)
    heal(pruned, tmp_path / "a", small_model, [words], plan, dense_export=False)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert not state_path(tmp_path / "b").exists()


def test_a_damaged_state_is_refused(pruned, small_model, words, settings, tmp_path):
    state_path(tmp_path / "out").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(CheckpointError, match="remove it to start anew"):
        heal(pruned, tmp_path / "out", small_model, [words], settings(2), dense_export=False)


def test_models_that_do_not_fit_are_refused(pruned, small_model, words, settings, tmp_path):
    with pytest.raises(CheckpointError, match="not a pruned folder"):
        heal(small_model, tmp_path / "out", small_model, [words], settings(2))
    with pytest.raises(CheckpointError, match="is pruned itself; the teacher is the dense model"):
        heal(pruned, tmp_path / "out", pruned, [words], settings(2))
    with pytest.raises(CheckpointError, match="the teacher is the model that was pruned"):
        heal(pruned, tmp_path / "out", "mamba-19m", [words], settings(2))
    for device, message in (("cuda", "no GPU here"), ("tpu", "not cpu or cuda")):
        if device == "cuda" and _has_gpu():
            continue
        with pytest.raises(RecipeError, match=message):
            heal(pruned, tmp_path / "out", small_model, [words], settings(2), device=device)
    assert list(tmp_path.iterdir()) == []


def _has_gpu():
    import torch

    return torch.cuda.is_available()
