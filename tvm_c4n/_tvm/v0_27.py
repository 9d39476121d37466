"""What other releases of TVM name or build otherwise, as 0.27 does it.

Each supported release has a module of this kind, with the same names; `tvm_c4n._tvm` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx
from tvm.script.ir_builder import tirx as T
from tvm.target import Target, codegen
from tvm.tirx import (
    AllocBuffer,
    AttrStmt,
    Bind,
    Buffer,
    BufferType,
    DeclBuffer,
    For,
    ForKind,
    IterVar,
    PrimFunc,
    SeqStmt,
    While,
    compilation_pipeline,
)
from tvm.tirx import BufferStore as TensorStore
from tvm.tirx import IfThenElse as If

__all__ = [
    "AllocBuffer",
    "AttrStmt",
    "Bind",
    "Buffer",
    "BufferType",
    "DeclBuffer",
    "For",
    "ForKind",
    "If",
    "PrimFunc",
    "SeqStmt",
    "TensorStore",
    "While",
    "compiler_version",
    "cpu_features",
    "declare",
    "intrinsic_number",
    "is_reduction",
    "marked",
    "name_of",
    "register_kernel_pipeline",
    "system_triple",
]


def name_of(named: Any) -> str:
    """Return the name of a global variable or of a block."""
    return str(named.name_hint)


def marked(mark: str, body: Any) -> Any:
    """Return a statement that code generation treats as a mark says, a name such as a pragma's."""
    return AttrStmt(T.int32(0), mark, T.int32(1), body)


def declare(buffer: Any, pointer: Any) -> Any:
    """Return the statement from which on a buffer is the memory at a pointer."""
    return DeclBuffer(buffer, data=pointer)


def is_reduction(axis: Any) -> bool:
    """Return whether a block sums over one of its axes."""
    return bool(axis.iter_type == IterVar.CommReduce)


def compiler_version() -> int:
    """Return the major version of LLVM."""
    return int(codegen.llvm_version_major())


def system_triple() -> str:
    """Return LLVM's triple of this machine."""
    return str(codegen.llvm_get_system_triple())


def cpu_features(target: Target) -> frozenset[str]:
    """Return LLVM's names of all features that a target's CPU has."""
    return frozenset(str(name) for name in codegen.llvm_get_cpu_features(target))


def intrinsic_number(name: str) -> int:
    """Return LLVM's number of an intrinsic; 0 if it has none of this name."""
    return int(codegen.llvm_lookup_intrinsic_id(name))


def register_kernel_pipeline(name: str, last: Callable[[], Any]) -> None:
    """Name a lowering of kernels, for `relax.build`: TVM's, LowerIntrin, and a pass of ours."""
    compilation_pipeline.register_tir_pipeline(name, lambda: _lowering(last()))


def _lowering(last: Any) -> Any:
    lower, finish_host, finish_device = compilation_pipeline.get_tir_pipeline("default")
    passes = [lower, tirx.transform.LowerIntrin(), last]
    return tvm.transform.Sequential(passes), finish_host, finish_device
