"""Healing: train a pruned model on, as it is stored, towards its dense teacher.

One-shot pruning answers for one layer at a time. Here all weights that are left are trained
together, so that the model's next-token distribution comes close to the teacher's (knowledge
distillation; Hinton et al., 2015). Every forward pass uses the weights as the folder stores them:
removed weights are zero, the others rounded to their int4 or int8 codes; the gradient passes the
rounding as if it were not there (straight-through; Bengio et al., 2013).

`HealSettings` says what to do and needs no torch; `heal` does it and needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm_c4n.extras import require
from tvm_c4n.healing.settings import HealSettings

if TYPE_CHECKING:
    from tvm_c4n.healing.run import HealReport, heal

__all__ = ["HealReport", "HealSettings", "heal"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use (PEP 562)."""
    if name not in ("heal", "HealReport"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    require("prune", "healing")
    return getattr(import_module(f"{__name__}.run"), name)
