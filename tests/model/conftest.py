"""A tiny random Mamba."""

import numpy as np
import pytest

from tvm_c4n.model.families.mamba import mamba_config


@pytest.fixture
def tiny():
    """Config and tensors of a model with two layers and odd sizes."""
    config = mamba_config(
        vocab_size=50,
        d_model=12,
        d_inner=20,
        n_layer=2,
        d_state=5,
        d_conv=3,
        dt_rank=3,
        tie_embeddings=False,
    )
    rng = np.random.default_rng(7)
    tensors = {
        name: rng.standard_normal(shape).astype(np.float32) * 0.4
        for name, shape in config.tensor_shapes().items()
    }
    return config, tensors
