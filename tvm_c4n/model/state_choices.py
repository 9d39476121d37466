"""What is chosen of states when a model is compiled: for how long texts, in which dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product, starmap

from tvm_c4n.errors import C4nError, shown
from tvm_c4n.model.blocks.attention import RING_BLOCK
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.states import STATE_BITS, StateDType, StateDTypes

# What a model has for which a dtype of states cannot be chosen.
_ELSEWISE = {"scan": "no Mamba-2 scan; other states are float32", "kv": "no attention"}


def choose_context(config: ModelConfig, context: int) -> ModelConfig:
    """Return a model for texts of another number of tokens.

    Parameters
    ----------
    config : ModelConfig
    context : int
        A multiple of 64, at most what the model was made for.

    Raises
    ------
    C4nError
        Another number, or the model has no attention.
    """
    if config.positions is None:
        raise C4nError(
            f"context {context}: this model has no attention, so it reads texts of any length; "
            "leave it out"
        )
    if not 0 < context <= config.positions or context % RING_BLOCK:
        raise C4nError(
            f"context {context}: use a multiple of {RING_BLOCK} up to {config.positions}, the "
            "tokens that the model was made for (max_position_embeddings)"
        )
    return config.with_context(context)


def choose_state_dtypes(
    config: ModelConfig, scan: StateDType | None, kv: StateDType | None
) -> ModelConfig:
    """Return a model with the chosen dtypes of states; see `StateDTypes`.

    Parameters
    ----------
    config : ModelConfig
        With float32 states.
    scan, kv : str, optional
        ``"float32"`` or ``"float16"``. By default float32 for scan states, float16 for keys and
        values (docs/decisions/state-dtypes.md).

    Raises
    ------
    C4nError
        Another dtype, or a choice for states that the model does not have.
    """
    for name, chosen in (("scan", scan), ("kv", kv)):
        if chosen is None:
            continue
        if chosen not in STATE_BITS:
            raise C4nError(f"{name} dtype is {shown(chosen)}; known are {', '.join(STATE_BITS)}")
        half = StateDTypes("float16", "float32") if name == "scan" else StateDTypes(kv="float16")
        if config.with_state_dtypes(half) == config:
            raise C4nError(
                f"{name} dtype {chosen}: this model ({config.model_type}) has {_ELSEWISE[name]}; "
                "leave it out"
            )
    return config.with_state_dtypes(StateDTypes(scan or "float32", kv or "float16"))


def with_stored_dtypes(config: ModelConfig, stored: Sequence[str]) -> ModelConfig:
    """Return the model whose states have the stored dtypes; ``config`` itself where none has."""
    for dtypes in starmap(StateDTypes, product(STATE_BITS, repeat=2)):
        changed = config.with_state_dtypes(dtypes)
        if [state.dtype for state in changed.states()] == list(stored):
            return changed
    return config
