"""DumpModule: writes the module between the phases of the pipeline (``--debug-dump DIR``).

Preconditions: none; the module stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from relay_passes.call_tir import op_name
from tvm_c4n._tvm import IRModule, name_of, relax, tvm
from tvm_c4n.checkpoint.files import make_folder, write_atomically

# By what TVM 0.27 prints: what its parser takes instead.
_PARSED = {
    # The node of a launch or a barrier is an int32; it is printed as a Python integer.
    'T.attr(0, "pragma': 'T.attr(T.int32(0), "pragma',
    # The parser has no name for this operator.
    "T.prefetch(": 'T.call_intrin("void", "tirx.prefetch", ',
    # Nor for vectors of two; it takes the type of the value then.
    "T.let[T.float32x2]": "T.let",
}
# A kernel's call with an integer among its arguments, as the virtual machine gets it; the parser
# takes no bare integer there.
_KERNEL_CALL = re.compile(r"^ +cls\.\w+\((?:[^()\[\]]|metadata\[[^\]]*\]\[\d+\])*\)$", re.M)
_INTEGER = re.compile(r"(?<=[( ])-?\d+(?=[,)])")
# A variable that no branch before has set: TVM's memory plan shares storage between branches.
_UNSET = re.compile(r"^ +\w+: R\.Any$", re.M)
_CONSTANTS = (
    "# The values of constants are left out, so this does not parse; tvm.ir.save_json keeps them.\n"
)
_BRANCHES = (
    "# TVM's memory plan shares storage between two branches here, which its parser refuses.\n"
)


@tvm.transform.module_pass(opt_level=0, name="DumpModule")
class DumpModule:
    """Write the module as TVMScript and count its operators; the module is not changed.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    name : str
        ``<name>.py`` gets the script, ``<name>.txt`` the counts of calls by operator.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Write both files."""
        make_folder(self.folder)
        script = script_of(mod)
        if "metadata[" in script:
            script = _CONSTANTS + script
        elif _UNSET.search(script):
            script = _BRANCHES + script
        write_atomically(self.folder / f"{self.name}.py", script)
        lines = [f"{count:6d}  {name}" for name, count in sorted(count_calls(mod).items())]
        write_atomically(self.folder / f"{self.name}.txt", "\n".join(lines) + "\n")
        return mod


def script_of(mod: IRModule, constants: bool = False) -> str:
    """Return a module as TVMScript; it parses back if it holds the values of all constants.

    One exception: after the phase "memory", TVM's plan may share storage between two branches.
    Inside the phase "memory", from `CallTIRRewrite` to `LowerAllocTensor`, it does not: TVM's
    parser does not know all that TVM prints of a tensor whose memory is not planned yet.
    """
    text = str(mod.script(show_meta=constants))
    for printed, parsed in _PARSED.items():
        text = text.replace(printed, parsed)
    return _KERNEL_CALL.sub(_with_prim_values, text)


def _with_prim_values(call: re.Match[str]) -> str:
    return _INTEGER.sub(r"R.prim_value(\g<0>)", call[0])


def count_calls(mod: IRModule) -> Counter[str]:
    """Count the calls in the Relax functions of a module, by operator or PrimFunc."""
    counts: Counter[str] = Counter()

    def visit(expr: Any) -> None:
        if not isinstance(expr, relax.Call):
            return
        name = str(op_name(expr) or getattr(expr.op, "global_symbol", "call"))
        if name.startswith("relax.call_tir"):
            name = f"call_tir {name_of(expr.args[0])}"
        counts[name] += 1

    for _, func in mod.functions_items():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, visit)
    return counts
