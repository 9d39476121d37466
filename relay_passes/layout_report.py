"""What became of the operators that only move elements: the file ``layout.json``."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from relay_passes.analysis import Kind, is_copy, kind_of, leaf_blocks
from relay_passes.call_graph import CallNode
from relay_passes.call_tir import CALL_TIR, op_name
from relay_passes.inline_copies import count_copies
from relay_passes.layout_rules import Fused
from tvm_c4n._tvm import IRModule, PrimFunc, name_of, relax, tirx, tvm
from tvm_c4n.checkpoint.files import make_folder, write_atomically


def count_layout(mod: IRModule) -> dict[str, int]:
    """Count, over all calls of the Relax functions, what only moves elements.

    Returns
    -------
    dict
        ``kernels``: calls of kernels that do nothing else; ``copies``: loop nests that do nothing
        else, those inside other kernels included; ``views``: calls that move nothing in memory
        (`RewriteDataflowReshape` makes them views of the same bytes), in neither of the others.
    """
    found = {"kernels": 0, "copies": 0, "views": 0}

    def visit(expr: Any) -> None:
        if not isinstance(expr, relax.Call) or op_name(expr) not in CALL_TIR:
            return
        func = mod[expr.args[0]]
        kind = kind_of(func)
        if kind == Kind.VIEW:
            found["views"] += 1
        elif kind != Kind.FIXED:
            found["kernels"] += kind == Kind.LAYOUT
            found["copies"] += count_copies(func)

    for _, func in mod.functions_items():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, visit)
    return found


class LayoutReport:
    """Collects what `EliminateLayout` decides.

    Parameters
    ----------
    mod : IRModule
        Before the pass.
    """

    def __init__(self, mod: IRModule):
        self.was = count_layout(mod)
        self.function = ""
        self.went: list[dict[str, Any]] = []
        self.stayed: list[dict[str, Any]] = []

    def gone(self, call: CallNode, outcome: Fused) -> None:
        """Note a layout op that other kernels took over."""
        names = sorted({name_of(gvar) for gvar in outcome.into})
        self.went.append({**self._about(call), "became index maths in": names})

    def stays(self, call: CallNode, func: PrimFunc, why: str) -> None:
        """Note a layout op that stays."""
        blocks = [name_of(block) for block in leaf_blocks(func) if is_copy(block)]
        size = _size_bytes(call.out)
        self.stayed.append({**self._about(call), "blocks": blocks, "bytes": size, "why": why})

    def _about(self, call: CallNode) -> dict[str, Any]:
        return {
            "function": self.function,
            "tensor": call.var.name,
            "kernel": name_of(call.gvar),
            "shape": [_length(n) for n in call.out.shape]
            if isinstance(call.out, relax.TensorType)
            else [],
        }

    def write(self, file: Path, mod: IRModule) -> None:
        """Write the report; `mod` is the module after the pass."""
        text = json.dumps(
            {
                "was": self.was,
                "is": count_layout(mod),
                "went": self.went,
                "stays": self.stayed,
            },
            indent=1,
        )
        make_folder(file.parent)
        write_atomically(file, text + "\n")


def _length(n: Any) -> str:
    """Write an axis' length: a number, or the expression of a symbolic one."""
    return str(int(n)) if isinstance(n, tirx.IntImm) else str(n)


def _size_bytes(out: Any) -> int | None:
    """Return the size of a tensor, None where it is symbolic or there are several."""
    if not isinstance(out, relax.TensorType):
        return None
    if not all(isinstance(n, tirx.IntImm) for n in out.shape):
        return None
    return prod(int(n) for n in out.shape) * int(tvm.DataType(str(out.dtype)).bits) // 8
