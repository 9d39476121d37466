"""The small model, pruned to n=2 and n=3."""

import pytest
import torch

from tvm_c4n.healing import HealSettings
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.run import prune


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pruned(small_model, words, tmp_path_factory):
    """The model at n=3 in in_proj and n=2 in out_proj, int4; x_proj is int4, dt_proj int8."""
    folder = tmp_path_factory.mktemp("heal-pruned") / "pruned"
    recipe = Recipe(
        removed={"in_proj": 3, "out_proj": 2}, dtype="int4", samples=8, sample_tokens=32
    )
    prune(small_model, folder, recipe, calibration=words, dense_export=False)
    return folder


@pytest.fixture
def settings():
    """``make(steps, **changes)``: settings of some seconds."""

    def make(steps=40, **changes):
        fields = {"batch": 8, "window": 16, "held_out": 16, "lr": 5e-3, **changes}
        return HealSettings(tokens=steps * fields["batch"] * fields["window"], **fields)

    return make
