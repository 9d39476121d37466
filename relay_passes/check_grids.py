"""CheckGrids: refuses a module with a kernel that would run on the phone's CPU instead of its GPU.

Preconditions: every kernel for the GPU has its grid (``tirx.is_scheduled``), C4n's from
BindSchedules, others from TVM's schedules. The module stays as it is.
"""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import IRModule, PrimFunc, SBlockRealize, name_of, relax, tvm
from tvm_c4n.errors import TargetError


@tvm.transform.module_pass(opt_level=0, name="CheckGrids")
class CheckGrids:
    """Raise TargetError if a kernel has no grid: its host code would read the GPU's memory."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Look at every kernel; a reshape moves nothing and is no kernel."""
        for gvar, func in mod.functions_items():
            if isinstance(func, PrimFunc) and not _has_grid(func) and not _is_reshape(func):
                raise TargetError(
                    f"TVM has no GPU schedule for kernel {name_of(gvar)!r}: compile for a CPU"
                )
        return mod


def _has_grid(func: PrimFunc) -> bool:
    return func.attrs is not None and "tirx.is_scheduled" in func.attrs


def _is_reshape(func: PrimFunc) -> bool:
    # TVM fails at functions without a root block.
    return isinstance(func.body, SBlockRealize) and relax.analysis.has_reshape_pattern(func)
