"""What the page shows beside the summary: each weight, the reports beside it, and the roofline."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tvm_c4n.checkpoint.json_reading import read_record
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES
from tvm_c4n.inspect.summary import ModelSummary
from tvm_c4n.model.state_choices import choose_state_dtypes
from tvm_c4n.pruning.report import Report
from tvm_c4n.sparsity import Removed

REPORT, ALLOCATION = "report.json", "allocation.json"
_AGAIN = "prune again, or remove it"
# Tensors that are no weights: as kernels read them.
_SMALL_BYTES = 4

_Kind = TypeVar("_Kind", bound=BaseModel)


class Point(BaseModel):
    """An allocation: its cost in the front's unit, and its loss in nats per token."""

    model_config = ConfigDict(frozen=True)

    cost: float = Field(ge=0, le=1e18)
    predicted_loss: float = Field(ge=-1e6, le=1e6)


class Front(BaseModel):
    """What ``allocation.json`` says of the Pareto front; it says more, which is not read."""

    model_config = ConfigDict(frozen=True)

    unit: str = Field(max_length=100)
    front: tuple[Point, ...] = Field(max_length=10_000)
    chosen: Point
    greedy: Point | None
    uniform: Point | None


@dataclass(frozen=True)
class Matrix:
    """A projection of a layer.

    Attributes
    ----------
    name : str
        The tensor's.
    layer : int
    kind : str
        The projection's.
    removed : int, or tuple of int
        Of each expert, where they differ.
    dtype : str
    size_bytes : int
    """

    name: str
    layer: int
    kind: str
    removed: Removed
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Details:
    """What `details_of` found.

    Attributes
    ----------
    matrices : tuple of Matrix
        Projections, by layer.
    errors : dict of str to float
        Relative output error by tensor, of the model's that the report has.
    report : Report or None
    front : Front or None
    """

    matrices: tuple[Matrix, ...]
    errors: dict[str, float]
    report: Report | None
    front: Front | None


@dataclass(frozen=True)
class Roofline:
    """What a token moves against what memory gives.

    Attributes
    ----------
    token_bytes, dense_bytes : int
        Weights read, states read and written: by this model, and by a dense one in float16.
    bandwidth : float
        Bytes/s.
    tokens_per_sec : float
        Measured; 0: it was not.
    """

    token_bytes: int
    dense_bytes: int
    bandwidth: float
    tokens_per_sec: float = 0.0


def details_of(summary: ModelSummary) -> Details:
    """Collect a model's projections, and read the reports that lie beside its weights.

    Raises
    ------
    CheckpointError
        A report is damaged.
    """
    config, matrices = summary.config, []
    for layer in range(config.n_layer):
        for kind, projection in config.projections(layer).items():
            weight, size = summary.each[projection.weight]
            matrices.append(
                Matrix(projection.weight, layer, kind, weight.removed, weight.dtype, size)
            )
    report = _read(summary.path / REPORT, Report)
    found = () if report is None else report.projections
    return Details(
        matrices=tuple(matrices),
        errors={each.name: each.output_error for each in found if each.name in summary.each},
        report=report,
        front=_read(summary.path / ALLOCATION, Front),
    )


def token_bytes(summary: ModelSummary) -> tuple[int, int]:
    """Return what a token moves: in this model, and in a dense one in float16.

    Weights count as they are stored, which differs by a few percent from what kernels read.
    """
    config = summary.config
    if not summary.made_for:
        config = choose_state_dtypes(config, None, None)
    shapes, shares = config.tensor_shapes(), config.shares()
    rest = _SMALL_BYTES * sum(prod(s) for name, s in shapes.items() if name not in summary.each)
    states = config.states()
    rest += 2 * sum(
        prod(s.shape) * np.dtype(s.dtype).itemsize
        for s in states
        if s.name not in ("keys", "values")
    )
    own = sum(share * summary.each[name][1] for name, share in shares.items())
    dense = sum(share * 2 * prod(shapes[name]) for name, share in shares.items())
    return round(own) + rest, round(dense) + rest


def _read(path: Path, kind: type[_Kind]) -> _Kind | None:
    if not os.path.lexists(path):
        return None
    return read_record(path, kind, MAX_INDEX_BYTES, _AGAIN)
