"""Every kernel of the step is profiled, or nothing is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.models import EXPERTS, write_model, write_tokenizer
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.profile import ATTEMPTS, MAX_RATIO, Profile, plausible, profile_step
from tvm_c4n.evaluate.replay import Stage
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.run import prune

LAYERS = 2


@pytest.fixture(scope="module")
def pruned(small_model: Path, words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model at n=2, int8: by magnitude, which is quick."""
    folder = tmp_path_factory.mktemp("profiled") / "n2"
    recipe = Recipe(removed=2, dtype="int8", method="magnitude", samples=4, sample_tokens=32)
    prune(small_model, folder, recipe, calibration=words)
    return folder


def test_every_kernel_of_the_step_is_there(pruned: Path) -> None:
    found = profile_step(pruned, 1, reps=1)
    assert {stage.name: stage.calls for stage in found.stages} == {
        "embedding": 1,
        "rms_norm": LAYERS + 1,
        "quantize": 2 * LAYERS,
        "in_proj": LAYERS,
        "conv1d": LAYERS,
        "x_proj": LAYERS,
        "dt_proj": LAYERS,
        "selective_scan": LAYERS,
        "out_proj": LAYERS,
        "head": 1,
    }
    sizes = {stage.name: stage.size_bytes for stage in found.stages}
    # n=2 int8 of (128, 32): at least the kept values; and other kernels have no weights to stream.
    assert sizes["in_proj"] >= LAYERS * 128 * 32 / 2
    assert sizes["selective_scan"] == 0
    # A kernel of this model takes some 0.1 us, a call 0.2; a step of 17 calls less than 1 ms.
    assert 0 < found.kernels <= MAX_RATIO * found.step < 1e3
    assert 0 < found.call < 100


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_two_threads_are_profiled_or_refused() -> None:
    """Two threads on one core take as long as one thread: such a table is never printed."""
    try:
        found = profile_step("mamba-19m-n2-int4", 2, reps=5)
    except C4nError as refused:
        said = str(refused)
        assert "2 threads had " in said or "with --threads 2 the kernels" in said
        assert "on an idle machine" in said
        return
    assert found.threads == 2
    assert 0.5 * found.step < found.kernels <= MAX_RATIO * found.step


def profile_with(kernels: float) -> Profile:
    """A profile of a step that takes 100 us."""
    return Profile(2, [Stage("in_proj", 2, kernels - 10, 0), Stage("head", 1, 10.0, 0)], 2.8, 100.0)


def test_a_disturbed_measurement_is_repeated() -> None:
    found = iter([profile_with(121.0), profile_with(119.0), profile_with(80.0)])
    assert plausible(lambda: next(found)).ratio == pytest.approx(1.19)


def test_kernels_that_take_longer_than_the_step_are_refused() -> None:
    """The figures of a table that two threads on one core once made."""
    found = iter([profile_with(158.0)] * ATTEMPTS)
    with pytest.raises(C4nError) as refused:
        plausible(lambda: next(found))
    assert "--threads 2 the kernels by themselves take 158 us, 1.58 of the step's 100 us" in str(
        refused.value
    )
    assert next(found, None) is None


@pytest.mark.slow
def test_of_experts_the_chosen_are_read(tmp_path: Path) -> None:
    write_model(tmp_path / "model", EXPERTS)
    write_tokenizer(tmp_path / "model")
    found = {stage.name: stage for stage in profile_step(tmp_path / "model", 1, reps=1).stages}
    # Gate and up have one shape; the routers are no projections.
    names = ("expert_up", "expert_down", "route", "linear", "head")
    assert [found[name].calls for name in names] == [4, 2, 2, 2, 1]
    matrix = 64 * 32 * 2  # of an expert, float16
    assert 2 * matrix <= found["expert_up"].size_bytes / 4 < 3 * matrix
    assert found["linear"].size_bytes == 0
