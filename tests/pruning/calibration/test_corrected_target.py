"""The corrected target is the minimum of what its docstring says; tokens count by their weights."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from tvm_c4n.pruning.calibration.corrected_target import (
    RESIDUAL_SHARE,
    collect,
    corrected_target,
)

COLS, ROWS = 8, 5


class Standing(NamedTuple):
    """A stream that stands at a projection, as far as `collect` looks at it."""

    hidden: torch.Tensor
    inputs: torch.Tensor
    adds: bool = True

    def product(self, layer):
        """The layer stands for its projection's weight."""
        return self.inputs @ layer.T


@pytest.fixture
def streams():
    """Two batches of a student that is off its teacher's activations, before out_proj."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).float()

    students = [Standing(draw(3, 20, ROWS), draw(3, 20, COLS)) for _ in range(2)]
    teachers = [
        Standing(p.hidden + 0.3 * draw(3, 20, ROWS), p.inputs + 0.3 * draw(3, 20, COLS))
        for p in students
    ]
    return students, teachers


def rows(streams, name):
    return torch.cat([getattr(stream, name).flatten(0, 1) for stream in streams]).double()


def test_the_corrected_target_is_the_least_squares_solution(streams):
    students, teachers = streams
    dense = torch.from_numpy(np.random.default_rng(1).standard_normal((ROWS, COLS))).float()
    weights = [torch.rand(3, 20, 1, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    found = corrected_target(dense, collect(students, teachers, dense, dense, weights), 1e-9)
    residual_error = rows(teachers, "hidden") - rows(students, "hidden")
    wanted = rows(teachers, "inputs") @ dense.double().T + RESIDUAL_SHARE * residual_error
    root = torch.cat([w.flatten(0, 1) for w in weights]).double().sqrt()
    solution = torch.linalg.lstsq(root * rows(students, "inputs"), root * wanted).solution.T
    torch.testing.assert_close(found.double(), solution, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("height", [COLS - 2, COLS, COLS + 3])
def test_only_what_adds_to_the_stream_undoes_its_error(streams, height):
    """Whichever side of the product the weight goes to."""
    students, teachers = ([s._replace(adds=False) for s in side] for side in streams)
    dense = torch.from_numpy(np.random.default_rng(2).standard_normal((height, COLS))).float()
    mismatch = rows(teachers, "inputs") - rows(students, "inputs")
    expected = dense.double() @ mismatch.T @ rows(students, "inputs")
    found = collect(students, teachers, dense, dense).correction
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_without_a_teacher_or_with_nothing_lost_the_weights_stay(streams):
    students, _ = streams
    dense = torch.ones(ROWS, COLS)
    assert corrected_target(dense, collect(students, [], dense, dense), 0.01) is dense
    torch.testing.assert_close(
        corrected_target(dense, collect(students, students, dense, dense), 0.01), dense
    )
