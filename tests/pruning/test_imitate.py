"""The goal of a fit is the minimum of what its docstring says; tokens count as they are told to."""

import numpy as np
import pytest
import torch

from tvm_c4n.pruning.imitate import DRIFT, collect, goal
from tvm_c4n.pruning.stream import Stream

COLS, ROWS = 8, 5


@pytest.fixture
def streams():
    """Two batches of a pupil that has drifted from its teacher."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).float()

    pupils = [Stream(draw(3, 20, ROWS), draw(3, 20, COLS)) for _ in range(2)]
    teachers = [
        Stream(p.hidden + 0.3 * draw(3, 20, ROWS), p.inputs + 0.3 * draw(3, 20, COLS))
        for p in pupils
    ]
    return pupils, teachers


def rows(streams, name):
    return torch.cat([getattr(stream, name).flatten(0, 1) for stream in streams]).double()


def test_the_goal_is_the_least_squares_solution(streams):
    pupils, teachers = streams
    dense = torch.from_numpy(np.random.default_rng(1).standard_normal((ROWS, COLS))).float()
    weights = [torch.rand(3, 20, 1, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    found = goal(dense, collect(pupils, teachers, "out_proj", weights), 1e-9)
    drift = rows(teachers, "hidden") - rows(pupils, "hidden")
    wanted = rows(teachers, "inputs") @ dense.double().T + DRIFT * drift
    root = torch.cat([w.flatten(0, 1) for w in weights]).double().sqrt()
    solution = torch.linalg.lstsq(root * rows(pupils, "inputs"), root * wanted).solution.T
    torch.testing.assert_close(found.double(), solution, atol=1e-4, rtol=1e-4)


def test_only_out_proj_undoes_the_drift(streams):
    assert collect(*streams, "in_proj").drift is None
    assert collect(*streams, "out_proj").drift.shape == (ROWS, COLS)


def test_with_nothing_to_imitate_or_nothing_lost_the_weights_stay(streams):
    pupils, _ = streams
    dense = torch.ones(ROWS, COLS)
    assert goal(dense, collect(pupils, [], "out_proj"), 0.01) is dense
    torch.testing.assert_close(goal(dense, collect(pupils, pupils, "out_proj"), 0.01), dense)
