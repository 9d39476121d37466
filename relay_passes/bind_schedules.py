"""BindSchedules: the bodies of C4n PrimFuncs are replaced by those of the schedule rules.

Preconditions: weights are packed for the rules' instruction set (`RepackWeights`); operators whose
weights are not packed keep their plain definition. The rules come as an argument, so that passes
and schedules do not depend on each other. ``c4n.schedule`` names the rule on each bound PrimFunc;
``tirx.is_scheduled`` keeps TVM's own schedules (dlight) away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm_c4n._tvm import IRModule, tvm
from tvm_c4n.ops.attrs import SCHEDULE
from tvm_c4n.ops.spec import OpSpec, spec_of
from tvm_c4n.ops.tir import Kernel

# Answers an operator with the rule's name and the kernel, or with None.
Choose = Callable[[OpSpec], "tuple[str, Kernel] | None"]


@tvm.transform.module_pass(opt_level=0, name="BindSchedules")
class BindSchedules:
    """Replace the bodies of C4n PrimFuncs.

    Parameters
    ----------
    choose : callable
        For example ``functools.partial(schedules.choose, isa=isa)``.
    """

    def __init__(self, choose: Choose):
        self.choose = choose

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every C4n PrimFunc that a rule answers for."""
        out = mod.clone()
        for gvar, func in mod.functions_items():
            spec = spec_of(func)
            if spec is None or SCHEDULE in func.attrs:
                continue
            answer = self.choose(spec)
            if answer is not None:
                name, kernel = answer
                attrs = {SCHEDULE: name, "tirx.is_scheduled": True}
                out.update_func(gvar, kernel.prim_func().with_attrs(attrs))
        return out
