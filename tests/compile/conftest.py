"""The embedded model's config and tensors."""

from __future__ import annotations

from typing import Any

import pytest

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model


@pytest.fixture(scope="session")
def embedded() -> tuple[ModelConfig, Any]:
    """Config, and the function that reads a tensor."""
    checkpoint = open_checkpoint("mamba-19m")
    return describe_model(checkpoint.config), checkpoint.dense
