"""ProtectKernels: kernels that TVM cannot fuse are marked as opaque, so that they are left alone.

TVM's own kernels count in int64. TVMScript's literals are int32, so a kernel that a user writes has
buffers with int32 shapes; fused with its neighbours, one tensor would have two types, which FuseTIR
refuses with an error about "inconsistent buffers".

Preconditions: put before AnnotateTIROpPattern, which keeps the mark.
"""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import BufferType, IRModule, PrimFunc, tvm

# TVM's OpPatternKind::kOpaque.
_OPAQUE = 8


@tvm.transform.module_pass(opt_level=0, name="ProtectKernels")
class ProtectKernels:
    """Mark every kernel with a buffer unlike those of TVM's own kernels."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Mark kernels; those with a mark keep theirs."""
        out = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, PrimFunc) and not _is_marked(func) and not _is_plain(func):
                out.update_func(gvar, func.with_attr("op_pattern", _OPAQUE))
        return out


def _is_marked(func: PrimFunc) -> bool:
    return func.attrs is not None and "op_pattern" in func.attrs


def _is_plain(func: PrimFunc) -> bool:
    """Return whether all buffers among the arguments are dense and of int64 shape."""
    kinds = [param.ty for param in func.params]
    return not any(
        len(kind.strides) > 0 or any(str(n.ty) != "int64" for n in kind.shape)
        for kind in kinds
        if isinstance(kind, BufferType)
    )
