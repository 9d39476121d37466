"""A run that was killed goes on after its last finished layer, to the same bytes."""

import signal
import subprocess
import sys

import pytest

from tvm_c4n.errors import CheckpointError, RecipeError
from tvm_c4n.pruning import Budget, Recipe, prune

RECIPE = Recipe(removed=2, dtype="int8", samples=12, sample_tokens=48, scale_group=32)
KILLED = """
import os, signal, sys
import torch
from tvm_c4n.pruning import Recipe, prune
torch.set_num_threads(1)
model, out, text, journal = sys.argv[1:5]
def stop(what, _done, _total):
    if what == "layer 1 x_proj":
        os.kill(os.getpid(), signal.SIGKILL)
recipe = Recipe(removed=2, dtype="int8", samples=12, sample_tokens=48, scale_group=32)
prune(model, out, recipe, calibration=text, progress=stop, dense_export=False, resume=journal)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(small_model, words, tmp_path):
    journal, out = tmp_path / "journal", tmp_path / "out"
    arguments = map(str, (small_model, out, words, journal))
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=200, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    calls = []
    report = prune(
        small_model,
        out,
        RECIPE,
        calibration=words,
        progress=lambda *call: calls.append(call),
        dense_export=False,
        resume=journal,
    )
    whole = prune(small_model, tmp_path / "whole", RECIPE, calibration=words, dense_export=False)
    for name in ("model.safetensors", "c4n.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert report.projections == whole.projections
    steps = [what for what, _, _ in calls]
    assert "layer 0 was finished before" in steps and "layer 0 in_proj" not in steps
    assert "layer 0 analysis" not in steps and "layer 1 in_proj" in steps
    assert calls[-1][1] == calls[-1][2]
    assert not journal.exists()


def test_layers_of_another_run_are_refused(small_model, words, tmp_path):
    def stop(what, _done, _total):
        if what == "layer 1 in_proj":
            raise KeyboardInterrupt

    options = {"calibration": words, "dense_export": False, "resume": tmp_path / "journal"}
    with pytest.raises(KeyboardInterrupt):
        prune(small_model, tmp_path / "out", RECIPE, progress=stop, **options)
    other = RECIPE.model_copy(update={"seed": 1})
    with pytest.raises(RecipeError, match="another model, recipe, budget, calibration or device"):
        prune(small_model, tmp_path / "out", other, **options)
    assert not (tmp_path / "out").exists()


def test_what_is_damaged_is_named(small_model, words, tmp_path):
    """One bit of numbers that are all plausible; and a link to nothing, which is not anew."""

    def stop(what, _done, _total):
        if what == "layer 1 in_proj":
            raise KeyboardInterrupt

    journal = tmp_path / "journal"
    options = {"calibration": words, "dense_export": False, "resume": journal}
    with pytest.raises(KeyboardInterrupt):
        prune(small_model, tmp_path / "out", RECIPE, progress=stop, **options)
    for name in ("activations-0000", "layer-0000", "analysis"):
        file = journal / f"{name}.safetensors"
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        said = f"{name}.safetensors: damaged: not what was written there; remove the folder"
        with pytest.raises(CheckpointError, match=said):
            prune(small_model, tmp_path / "out", RECIPE, **options)
    file.unlink()
    file.symlink_to("gone")
    with pytest.raises(CheckpointError, match=r"analysis\.safetensors: missing file"):
        prune(small_model, tmp_path / "out", RECIPE, **options)


def test_a_folder_with_other_files_is_left_alone(small_model, words, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RecipeError, match="holds other files"):
        prune(
            small_model,
            tmp_path / "out",
            RECIPE,
            calibration=words,
            resume=tmp_path / "mine",
        )
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_run_to_a_budget_measures_sensitivities_once(small_model, words, tmp_path):
    budget = Budget("sparsity", 0.3)
    options = {"calibration": words, "dense_export": False, "budget": budget}
    whole = prune(small_model, tmp_path / "whole", RECIPE, **options)

    def stop(what, _done, _total):
        if what == "layer 1 x_proj":
            raise KeyboardInterrupt

    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        prune(small_model, tmp_path / "out", RECIPE, progress=stop, resume=journal, **options)
    steps = []
    again = prune(
        small_model,
        tmp_path / "out",
        RECIPE,
        progress=lambda what, _done, _total: steps.append(what),
        resume=journal,
        **options,
    )
    assert not any("sensitivity" in what for what in steps)
    assert "layer 0 was finished before" in steps
    assert again.projections == whole.projections
    for name in ("model.safetensors", "allocation.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not journal.exists()


def test_another_budget_is_another_run(small_model, words, tmp_path):
    def stop(what, _done, _total):
        if what == "layer 0 in_proj":
            raise KeyboardInterrupt

    options = {"calibration": words, "dense_export": False, "resume": tmp_path / "journal"}
    with pytest.raises(KeyboardInterrupt):
        prune(
            small_model,
            tmp_path / "out",
            RECIPE,
            progress=stop,
            budget=Budget("sparsity", 0.3),
            **options,
        )
    with pytest.raises(RecipeError, match="another model, recipe, budget"):
        prune(small_model, tmp_path / "out", RECIPE, budget=Budget("sparsity", 0.4), **options)
