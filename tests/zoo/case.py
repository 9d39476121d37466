"""One module with inputs, and how the frontends' models become one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from tvm_c4n._tvm import IRModule
from tvm_c4n.sparsity import mask_from_scores


@dataclass(frozen=True)
class Case:
    """A module whose function ``main`` runs on `inputs`; its weights are constants."""

    mod: IRModule
    inputs: list[np.ndarray]
    # Relative to the largest output: what the dtype of the activations allows.
    tolerance: float = 1e-4


Maker: TypeAlias = Callable[[int, bool], Case]


def thin(weight: np.ndarray, removed: int) -> np.ndarray:
    """Make `removed` of every 4 columns zero, by magnitude; other widths stay."""
    rows = weight.reshape(weight.shape[0], -1)
    if removed == 0 or rows.shape[1] % 4:
        return weight
    return (rows * mask_from_scores(np.abs(rows), removed)).reshape(weight.shape)


def prune_torch(model: torch.nn.Module, removed: int) -> None:
    """Thin all linear layers and all convolutions of kernel 1."""
    with torch.no_grad():
        for layer in model.modules():
            weight = getattr(layer, "weight", None)
            pointwise = isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d) and layer.groups == 1
            if isinstance(layer, torch.nn.Linear) or (
                pointwise and set(layer.kernel_size) == {1} and set(layer.stride) == {1}
            ):
                weight.copy_(torch.from_numpy(thin(weight.numpy(), removed)))


def export(
    model: torch.nn.Module,
    inputs: list[torch.Tensor],
    *,
    operators: dict[str, Any] | None = None,
    **options: Any,
) -> IRModule:
    """Bring a torch model to Relax through ``torch.export``; `operators` convert custom ones."""
    from tvm.relax.frontend.torch import from_exported_program

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(model.eval(), tuple(inputs), **options)
        return from_exported_program(
            program, unwrap_unit_return_tuple=True, custom_convert_map=operators
        )


def torch_case(
    model: torch.nn.Module, inputs: list[torch.Tensor], removed: int, **options: Any
) -> Case:
    """Thin a torch model and export it."""
    prune_torch(model, removed)
    return Case(export(model, inputs, **options), [x.numpy() for x in inputs])
