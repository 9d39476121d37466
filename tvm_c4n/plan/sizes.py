"""Bytes of a model that a recipe would make: from its config alone, exact for the weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tvm_c4n.model.description import ModelConfig
from tvm_c4n.ops.repack import panel_format
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.sparsity import removed_of_each, size_bytes

# Of tensors that are no weights: as C4n folders store them, and as kernels read them.
_STORED_BYTES, _READ_BYTES = 2, 4
_TEXT_STATES = ("keys", "values")


@dataclass(frozen=True)
class Sizes:
    """What a model of one recipe takes.

    Attributes
    ----------
    disk_bytes : int
        All tensors as stored.
    weight_bytes : int
        All tensors as repacked for this machine.
    read_bytes : dict of Choice to int
        What a decode step reads of the weights that are stored like this, repacked.
    small_bytes : int
        What it reads of all other tensors.
    """

    disk_bytes: int
    weight_bytes: int
    read_bytes: dict[Choice, int]
    small_bytes: int

    @property
    def token_bytes(self) -> int:
        """What a decode step reads, states aside."""
        return sum(self.read_bytes.values()) + self.small_bytes


def sizes_of(config: ModelConfig, recipe: Recipe, lanes: int) -> Sizes:
    """Add up a model's tensors.

    Parameters
    ----------
    config : ModelConfig
    recipe : Recipe
    lanes : int
        Rows of a panel of repacked weights.

    Raises
    ------
    RecipeError
        The recipe does not fit the model.
    """
    config = recipe.stored(config)
    plan, shapes, shares = recipe.plan(config), config.tensor_shapes(), config.shares()
    experts = {p.weight: p.experts for i in range(config.n_layer)
               for p in config.projections(i).values()}  # fmt: skip
    disk_bytes = weight_bytes = small_bytes = 0
    read_bytes: Counter[Choice] = Counter()
    for name, shape in shapes.items():
        if name not in plan:
            disk_bytes += _STORED_BYTES * prod(shape)
            small_bytes += _READ_BYTES * prod(shape)
            continue
        rows, cols = shape
        choice, matrices = plan[name], experts.get(name) or 1
        spec = linear_spec(rows // matrices, cols, choice, recipe, lanes)
        group = recipe.group_of(choice.removed)
        disk_bytes += size_bytes(rows, cols, choice.pattern, choice.dtype, group)
        each = removed_of_each(choice.pattern, matrices)
        formats = (panel_format(replace(spec, removed=n)) for n in each)
        repacked_bytes = sum(prod(fmt.layout.shape) for fmt in formats)
        weight_bytes += repacked_bytes
        if shares[name]:
            read_bytes[choice] += round(shares[name] * repacked_bytes)
    return Sizes(disk_bytes, weight_bytes + small_bytes, dict(read_bytes), small_bytes)


def linear_spec(rows: int, cols: int, choice: Choice, recipe: Recipe, lanes: int) -> LinearSpec:
    """Return the operator of a decode step that multiplies with such a weight."""
    group = recipe.group_of(choice.removed) if choice.dtype.startswith("int") else 0
    return LinearSpec(False, rows, cols, choice.removed, choice.dtype, group, lanes, cols)


def state_sizes(config: ModelConfig) -> tuple[int, int]:
    """Return the bytes of states that do not depend on the context, and of those that do."""
    fixed = of_context = 0
    for state in config.states():
        size = prod(state.shape) * np.dtype(state.dtype).itemsize
        if state.name in _TEXT_STATES:
            of_context += size
        else:
            fixed += size
    return fixed, of_context
