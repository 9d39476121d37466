"""Loops that torch would make of many short calls, compiled by TVM for this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable

from tvm_c4n._tvm import IRBuilder, IRModule, T, Target, tvm
from tvm_c4n.ops.host import host_description
from tvm_c4n.ops.tir import in_root_block


def compiled(body: Callable[[], None]) -> Callable[..., None]:
    """Compile a function that is made of the statements that ``body`` emits."""
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("kernel")
        T.func_attr({"global_symbol": "kernel", "tirx.noalias": True})
        body()
    module = IRModule({"kernel": in_root_block(builder.get())})
    kernel: Callable[..., None] = tvm.compile(module, Target(host_description()))["kernel"]
    return kernel
