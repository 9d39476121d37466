"""TakeChunks: the threads take long parallel loops in chunks, so that a slow core takes fewer.

TVM splits a parallel loop evenly, and the slowest core then decides when the barrier after it
opens (docs/decisions/uneven-cores.md). Loops that are short, by an estimate of what they read, stay
as they are: taking costs more there than it gives. Results stay the same, bit by bit.

Preconditions: put behind TVM's lowering of kernels, LowerIntrin included and LowerTVMBuiltin not:
the loops' indices have no known range any more, and without one divisions become slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relay_passes.loop_bytes import loop_bytes
from relay_passes.regions.parallel import LAUNCH
from relay_passes.taken_loop import TAKE_LLVM, TAKEN, Counters, taken
from tvm_c4n._tvm import (
    AttrStmt,
    For,
    ForKind,
    If,
    IRModule,
    PrimFunc,
    SBlock,
    SBlockRealize,
    SeqStmt,
    T,
    name_of,
    tirx,
    tvm,
)

# Loops that read less stay as they are: two cores read this much in 20 to 40 us, and taking costs
# 0.3 us, however long a loop is (docs/decisions/uneven-cores.md).
LONG_BYTES = 512 << 10

_IMPORT = "pragma_import_llvm"


@tvm.transform.module_pass(opt_level=0, name="TakeChunks")
class TakeChunks:
    """Rewrite every parallel loop that reads at least `long_bytes` (see `loop_bytes`)."""

    def __init__(self, long_bytes: int = LONG_BYTES):
        self.long_bytes = long_bytes

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite the PrimFuncs."""
        out = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, PrimFunc):
                body = self._outside(func.body)
                if not body.same_as(func.body):
                    out.update_func(gvar, func.with_body(body))
        return out

    def _outside(self, stmt: Any) -> Any:
        """Rewrite what is in no launch; a statement without a long loop comes back as it is."""
        if not _launches(stmt):
            return _mapped(stmt, self._outside)
        counters = Counters()
        launch = self._inside(stmt, counters, ())
        if launch.same_as(stmt):
            return stmt
        whole = SeqStmt([*counters.start(), launch])
        return AttrStmt(T.int32(0), _IMPORT, tvm.ir.StringImm(TAKE_LLVM), whole)

    def _inside(self, stmt: Any, counters: Counters, outer: tuple[For, ...]) -> Any:
        """Rewrite what is in a launch, and there in loops of known extents."""
        if isinstance(stmt, For):
            if stmt.kind == ForKind.PARALLEL:
                long = TAKEN not in stmt.annotations and loop_bytes(stmt) >= self.long_bytes
                return taken(stmt, counters, outer) if long else stmt
            if not isinstance(stmt.extent, tirx.IntImm):
                return stmt
            outer = (*outer, stmt)
        return _mapped(stmt, lambda part: self._inside(part, counters, outer))


def _launches(stmt: Any) -> bool:
    if isinstance(stmt, For):
        return bool(stmt.kind == ForKind.PARALLEL)
    return isinstance(stmt, AttrStmt) and stmt.attr_key == LAUNCH


def _mapped(stmt: Any, rewrite: Callable[[Any], Any]) -> Any:
    """Rewrite the statements that one consists of; the same object if they stay as they are."""
    if isinstance(stmt, SBlockRealize):
        block = stmt.block
        body = rewrite(block.body)
        if body.same_as(block.body) or len(block.iter_vars) > 0:
            return stmt
        root = SBlock([], block.reads, block.writes, name_of(block), body)
        return SBlockRealize([], stmt.predicate, root)
    if isinstance(stmt, SeqStmt):
        parts = list(stmt.seq)
    elif isinstance(stmt, If):
        parts = [stmt.then_case] + [stmt.else_case] * (stmt.else_case is not None)
    elif isinstance(stmt, AttrStmt | For):
        parts = [stmt.body]
    else:
        return stmt
    new = [rewrite(part) for part in parts]
    if all(a.same_as(b) for a, b in zip(new, parts, strict=True)):
        return stmt
    if isinstance(stmt, SeqStmt):
        return SeqStmt(new)
    if isinstance(stmt, If):
        return If(stmt.condition, *new)
    if isinstance(stmt, AttrStmt):
        return AttrStmt(stmt.node, stmt.attr_key, stmt.value, *new)
    return For(stmt.loop_var, stmt.min, stmt.extent, stmt.kind, *new, annotations=stmt.annotations)
