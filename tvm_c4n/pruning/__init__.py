"""Sparse learning: prune a Mamba model to C4n, the kept weights making up for the removed ones.

`Recipe` says what to do and needs no torch; `prune` does it and needs torch.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tvm_c4n.extras import require
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.recipe import ABLATIONS, METHODS, Choice, Recipe

if TYPE_CHECKING:
    from tvm_c4n.pruning.report import LayerRepair, ProjectionReport, Report
    from tvm_c4n.pruning.run import prune

__all__ = [
    "METHODS",
    "ABLATIONS",
    "Choice",
    "LayerRepair",
    "ProjectionReport",
    "Recipe",
    "Report",
    "Budget",
    "prune",
]

_LAZY = {"prune": "run", "Report": "report", "ProjectionReport": "report", "LayerRepair": "report"}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use (PEP 562)."""
    if name == "Target":
        warnings.warn("Target is now Budget", DeprecationWarning, stacklevel=2)
        return Budget
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    require("prune", "pruning")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
