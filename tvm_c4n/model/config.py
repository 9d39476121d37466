"""Whether a checkpoint holds the model that its config.json describes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.rows import Rows, rows_of

# Tokens that the memory of prefill and score is planned for; longer prompts come in several calls.
MAX_TOKENS = 256
# Sequences that the memory of a batched step is planned for; more take turns.
MAX_BATCH = 32
# Its exponential, 5e34, is still a float32.
_MAX_A_LOG = 80.0


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
            raise CheckpointError(f"tensor {name} is missing{_hint(name, names)}")
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
            known, whole = found.get(rows.source, ()), rows.source_shape(shape[1:])
            found[rows.source] = max(known, whole)
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
    stored = set(checkpoint.names())
    for name in config.tensor_shapes():
        values = checkpoint.dense(name)
        _check_finite(name, values, None if name in stored else rows_of(name))
        if name.endswith("A_log") and values.max(initial=0.0) > _MAX_A_LOG:
            place = [int(i) for i in np.unravel_index(np.argmax(values), values.shape)]
            raise CheckpointError(
                f"tensor {name} has {values[tuple(place)]} at {place}, the logarithm of a decay "
                "that is too large for a number; the model is damaged"
            )
        if name == config.embeddings and not values.any():
            raise CheckpointError(f"tensor {name} is all zeros; the model was never trained")


def _check_finite(name: str, values: NDArray[np.float32], rows: Rows | None) -> None:
    good = np.isfinite(values)
    if good.all():
        return
    place = [int(i) for i in np.unravel_index(np.argmin(good), good.shape)]
    value = values[tuple(place)]
    if rows is not None:
        name, place = rows.source, [*rows.place(place[0]), *place[1:]]
    raise CheckpointError(
        f"tensor {name} has {value} at {place}; the model is damaged or its training diverged"
    )


def _hint(missing: str, names: Iterable[str]) -> str:
    """Say what the checkpoint seems to be, where the names tell."""
    other = "model.layers."
    if not missing.startswith("model.") and any(name.startswith(other) for name in names):
        return "; the names are those of another kind of model"
    return ""
