"""A tiny random Mamba."""

import numpy as np
import pytest

from tvm_c4n.model import MambaConfig


@pytest.fixture
def tiny():
    """Config and tensors of a model with two layers and odd sizes."""
    config = MambaConfig(
        vocab=50, hidden=12, inner=20, layers=2, state=5, conv=3, dt_rank=3, tied=False
    )
    rng = np.random.default_rng(7)
    tensors = {
        name: rng.standard_normal(shape).astype(np.float32) * 0.4
        for name, shape in config.tensor_shapes().items()
    }
    return config, tensors
