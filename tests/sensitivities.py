"""Sensitivities put together from the losses of removal and of rounding."""

from tvm_c4n.pruning.allocation.sensitivity import Sensitivity
from tvm_c4n.sparsity import kept_share


def added(removal, int8, int4, experts=()):
    """What removing n = 0, 1, … loses, and rounding what is kept: int3 4 times int4, int2 16."""
    rounding = {"float16": 0.0, "int8": int8, "int4": int4, "int3": 4 * int4, "int2": 16 * int4}
    losses = {
        (n, dtype): gone + kept_share(n) * loss
        for n, gone in enumerate(removal)
        for dtype, loss in rounding.items()
    }
    return Sensitivity(losses, experts)
