"""Every tvm name that has moved between releases, in one place.

The other modules import ``T``, ``relax``, ``IRBuilder`` and the rest from here. What releases name
or build otherwise is in a module for each supported one, beside this one.
"""

from __future__ import annotations

from typing import Any

# First: what it tells TVM about threads must be there when TVM starts.
import tvm_c4n._tvm_runtime

# isort: split
import tvm_c4n._tvm.supported  # noqa: F401

# isort: split
import tvm
from tvm import relax, s_tir, te, tirx
from tvm.ir import GlobalVar, IRModule
from tvm.ir.expr import Expr, GenericConst, TensorLoad
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.s_tir import SBlock, SBlockRealize
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T
from tvm.sym import Analyzer
from tvm.target import Target
from tvm_ffi import StructuralKey, load_module, register_error, structural_equal

from tvm_c4n._registration import register_with_tvm
from tvm_c4n._tvm.v0_27 import (
    AllocBuffer,
    AttrStmt,
    Bind,
    Buffer,
    BufferType,
    DeclBuffer,
    For,
    ForKind,
    If,
    PrimFunc,
    SeqStmt,
    TensorStore,
    While,
    compiler_version,
    cpu_features,
    declare,
    intrinsic_number,
    is_reduction,
    marked,
    name_of,
    register_kernel_pipeline,
    system_triple,
)
from tvm_c4n.errors import C4nError, TargetError

__all__ = [
    "AllocBuffer",
    "Analyzer",
    "AttrStmt",
    "Bind",
    "Buffer",
    "BufferType",
    "DeclBuffer",
    "Expr",
    "For",
    "ForKind",
    "GenericConst",
    "GlobalVar",
    "IRBuilder",
    "IRModule",
    "If",
    "PrimFunc",
    "PyExprMutator",
    "SBlock",
    "SBlockRealize",
    "SeqStmt",
    "StructuralKey",
    "T",
    "Target",
    "TensorLoad",
    "TensorStore",
    "While",
    "compiler_version",
    "cpu_features",
    "declare",
    "intrinsic",
    "is_reduction",
    "load_module",
    "marked",
    "mutator",
    "name_of",
    "register_kernel_pipeline",
    "relax",
    "s_tir",
    "structural_equal",
    "system_triple",
    "te",
    "tirx",
    "tvm",
]

# What our passes raise goes through TVM's C++; it comes back as what it was if TVM has its name.
_KINDS: list[type[C4nError]] = [C4nError, *C4nError.__subclasses__()]
for _kind in _KINDS:
    register_error(f"tvm_c4n.{_kind.__name__}", _kind)

register_with_tvm()


def intrinsic(dtype: str, name: str, *args: Any) -> Any:
    """Build a call of an LLVM intrinsic without side effects.

    Parameters
    ----------
    dtype : str
        Result type, for example ``"int32x8"``.
    name : str
        LLVM's name, for example ``"llvm.x86.avx2.pshuf.b"``.
    *args
        TIR expressions.

    Raises
    ------
    TargetError
        If this build of LLVM has no such intrinsic.
    """
    number = intrinsic_number(name)
    if number == 0:
        raise TargetError(f"LLVM in this tvm has no intrinsic {name}")
    return T.call_llvm_pure_intrin(dtype, T.uint32(number), *args)
