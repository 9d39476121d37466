"""Contexts and dtypes of states, chosen for a model."""

import pytest

from tests.model.families.test_granitemoehybrid import described
from tvm_c4n.errors import C4nError
from tvm_c4n.model.state_choices import choose_context, choose_state_dtypes, with_stored_dtypes


def test_states_have_the_chosen_dtypes():
    def dtypes(config):
        return [state.dtype for state in config.states()]

    small = ["float32", "float32"]
    rounded = choose_state_dtypes(described(), None, None)
    assert dtypes(rounded) == [*small, "float32", "uint16", "uint16", "int32"]
    halved = choose_state_dtypes(described(), "float16", "float32")
    assert dtypes(halved) == [*small, "uint16", "float32", "float32", "int32"]
    for config in (described(), rounded, halved):
        assert with_stored_dtypes(described(), dtypes(config)) == config
    assert with_stored_dtypes(described(), ["int8"]) == described()
    with pytest.raises(C4nError, match="scan dtype is 'int8'; known are float32, float16"):
        choose_state_dtypes(described(), "int8", None)
    alone = described(layer_types=["mamba", "mamba"])
    with pytest.raises(C4nError, match=r"kv dtype float16: this model .* has no attention"):
        choose_state_dtypes(alone, None, "float16")


def test_another_context_makes_another_ring():
    config = choose_context(described(), 64)
    (attention,) = config.layers[1].residuals[0].blocks
    assert (config.context, config.positions, attention.context) == (64, 320, 64)
    assert config.states()[3].shape == (1, 2, 1, 8, 64)
    assert choose_context(described(), 320) == described()
    long = described(max_position_embeddings=131072)
    assert choose_context(long, 8192).states()[4].shape == (1, 2, 128, 64, 8)
    for wrong in (0, -64, 63, 100, 384):
        with pytest.raises(C4nError, match=f"context {wrong}: use a multiple of 64 up to 320, the"):
            choose_context(described(), wrong)
    with pytest.raises(C4nError, match="context 64: this model has no attention"):
        choose_context(described(layer_types=["mamba", "mamba"]), 64)
