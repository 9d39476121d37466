"""Whether a checkpoint holds the model that its config.json describes, and for which texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product, starmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError, CheckpointError, shown
from tvm_c4n.model.blocks.attention import RING_BLOCK
from tvm_c4n.model.description import STATE_BITS, ModelConfig, StateDType, StateDTypes
from tvm_c4n.model.rows import rows_of

# Tokens that the memory of prefill and score is planned for; longer prompts come in several calls.
MAX_TOKENS = 256
# Its exponential, 5e34, is still a float32.
_MAX_A_LOG = 80.0
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


class HasShapes(Protocol):
    """The part of a checkpoint that `check_tensors` needs."""

    def names(self) -> list[str]:
        """Names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""


class HasTensors(HasShapes, Protocol):
    """The part of a checkpoint that `check_values` needs."""

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor."""


def check_tensors(config: ModelConfig, checkpoint: HasShapes) -> None:
    """Check that a checkpoint holds every tensor in the right shape; others are allowed.

    Raises
    ------
    CheckpointError
        Names the first tensor that is missing or has another shape.
    """
    names = set(checkpoint.names())
    for name, shape in _stored_shapes(config, names).items():
        if name not in names:
            raise CheckpointError(f"tensor {name} is missing{_hint(names)}")
        found = tuple(checkpoint.shape(name))
        if found != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(found)}; config.json asks for {list(shape)}"
            )


def _stored_shapes(config: ModelConfig, names: set[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors; rows that lie in a whole tensor stand for that.

    Rows are tensors of their own where any are: in a C4n folder.
    """
    found: dict[str, tuple[int, ...]] = {}
    apart = any(map(rows_of, names))
    for name, shape in config.tensor_shapes().items():
        rows = None if apart or name in names else rows_of(name)
        if rows is None:
            found[name] = shape
        else:
            found[rows.source] = (max(rows.stop, found.get(rows.source, (0,))[0]), *shape[1:])
    return found


def check_values(config: ModelConfig, checkpoint: HasTensors) -> None:
    """Read every tensor once and refuse values that no model can have.

    Raises
    ------
    CheckpointError
        Names the first tensor with a value that is NaN or infinite, or whose exponential is where
        that is what counts, and its place: the index into the tensor as the file has it. Or all
        embeddings are zero.
    """
    for name in config.tensor_shapes():
        values = checkpoint.dense(name)
        _check_finite(name, values)
        if name.endswith("A_log") and values.max(initial=0.0) > _MAX_A_LOG:
            place = [int(i) for i in np.unravel_index(np.argmax(values), values.shape)]
            raise CheckpointError(
                f"tensor {name} has {values[tuple(place)]} at {place}, the logarithm of a decay "
                "that is too large for a number; the model is damaged"
            )
        if name == config.embeddings and not values.any():
            raise CheckpointError(f"tensor {name} is all zeros; the model was never trained")


def _check_finite(name: str, values: NDArray[np.float32]) -> None:
    good = np.isfinite(values)
    if good.all():
        return
    place = [int(i) for i in np.unravel_index(np.argmin(good), good.shape)]
    raise CheckpointError(
        f"tensor {name} has {values[tuple(place)]} at {place}; the model is damaged or its "
        "training diverged"
    )


def _hint(names: Iterable[str]) -> str:
    """Say what the checkpoint seems to be, where the names tell."""
    if any(name.startswith("model.layers.") for name in names):
        return "; the names are those of another kind of model"
    return ""
