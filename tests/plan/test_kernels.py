"""Kernels of a model that nobody has are built and timed."""

from __future__ import annotations

import pytest

from tests.models import EXPERTS, HF, HYBRID
from tvm_c4n.model.families import describe_model
from tvm_c4n.plan.kernels import Kernels
from tvm_c4n.pruning.recipe import Choice, Recipe

# Kernels of few columns multiply float32 activations, which nothing quantises.
WIDE = {**HF, "hidden_size": 256, "intermediate_size": 512}


@pytest.mark.parametrize("choice", [Choice(0, "float16"), Choice(2, "int4")])
def test_a_projection_reads_at_some_speed(choice: Choice) -> None:
    recipe = Recipe(removed=choice.removed, dtype=choice.dtype)
    rate = Kernels(describe_model(HF), 1).read_rate(choice, recipe, 1 << 20)
    assert 1e7 < rate < 1e13


@pytest.mark.slow
def test_other_kernels_are_counted_by_layer() -> None:
    two = Kernels(describe_model(WIDE), 1).other_secs()
    assert 0 < two[1] < two[0] < 1
    many = Kernels(describe_model({**WIDE, "num_hidden_layers": 200}), 1).other_secs()
    assert many[0] > 10 * two[0]


@pytest.mark.slow
def test_experts_are_timed_by_the_matrix_of_one() -> None:
    kernels = Kernels(describe_model({**EXPERTS, "intermediate_size": 160}), 1)
    assert kernels._largest_shape() == (160, 32)
    assert 0 < sum(kernels.other_secs()) < 1


def test_layers_of_several_kinds_are_timed() -> None:
    others, quantizing = Kernels(describe_model(HYBRID), 1).other_secs()
    assert quantizing == 0
    assert 0 < others < 1
