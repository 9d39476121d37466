"""What the experimental target adreno needs beside `build`: a check, and the sources to look at."""

from __future__ import annotations

from tvm_c4n._tvm import IRModule, PrimFunc, relax
from tvm_c4n.errors import TargetError


def check_grids(mod: IRModule) -> None:
    """Raise TargetError if a kernel of a prepared module would run on the phone's CPU instead."""
    for gvar, func in mod.functions_items():
        if not isinstance(func, PrimFunc) or relax.analysis.has_reshape_pattern(func):
            continue
        if func.attrs is None or "tirx.is_scheduled" not in func.attrs:
            raise TargetError(
                f"TVM has no GPU schedule for kernel {gvar.name_hint!r}: compile for a CPU"
            )


def opencl_sources(executable: relax.VMExecutable) -> str:
    """Return the OpenCL code of an executable that `build` made for the target adreno."""
    queue, found = [executable.mod], []
    for module in queue:
        queue.extend(module.imports)
        if module.kind == "opencl":
            found.append(str(module.inspect_source()))
    return "\n".join(found)
