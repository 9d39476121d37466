"""Small least-squares problems for pruning."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the problems are so small that threads only wait for each other


@pytest.fixture
def problem():
    """``make(rows, cols)``: weights and correlated statistics, float64."""

    def make(rows, cols, seed=0):
        rng = np.random.default_rng(seed)
        mix = rng.standard_normal((cols, cols)) * 0.4 + np.eye(cols)
        inputs = rng.standard_normal((4 * cols, cols)) @ mix
        weight = rng.standard_normal((rows, cols))
        return torch.from_numpy(weight), torch.from_numpy(inputs.T @ inputs)

    return make
