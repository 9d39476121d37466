"""Sparse learning: prune a Mamba model to C4n, the kept weights making up for the removed ones.

`Recipe` says what to do and needs no torch; `prune` does it and needs torch.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tvm_c4n.errors import C4nError
from tvm_c4n.prune.recipe import METHODS, STEPS, Choice, Recipe
from tvm_c4n.prune.target import Target

if TYPE_CHECKING:
    from tvm_c4n.prune.report import ProjectionReport, Report
    from tvm_c4n.prune.run import prune

__all__ = [
    "METHODS",
    "STEPS",
    "Choice",
    "ProjectionReport",
    "Recipe",
    "Report",
    "Target",
    "prune",
]

_LAZY = {"prune": "run", "Report": "report", "ProjectionReport": "report"}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise C4nError("pruning needs torch: pip install 'tvm-c4n[prune]'") from None
    return getattr(module, name)


class _CallablePackage(ModuleType):
    """Lets ``tvm_c4n.prune`` be both this package and the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        """Call `tvm_c4n.prune.run.prune`."""
        report: Report = __getattr__("prune")(*args, **kwargs)
        return report


sys.modules[__name__].__class__ = _CallablePackage
