"""The parallel launch of a region: threads enter once, and wait for each other at barriers."""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import For, ForKind, PrimFunc, SeqStmt, tirx

# Attributes that TVM's CPU code generator reads: the body is one launch of the thread pool; the
# threads wait for each other where the statement ends.
LAUNCH = "pragma_parallel_launch_point"
BARRIER = "pragma_parallel_barrier_when_finish"


def statements(func: PrimFunc) -> list[Any]:
    """Return the statements in the root block of a kernel."""
    body = func.body.block.body
    return list(body.seq) if isinstance(body, SeqStmt) else [body]


def launched(region: PrimFunc) -> list[Any]:
    """Return the statements of a region without the launch around them."""
    *declared, launch = statements(region)
    inside = launch.body
    return [*declared, *(inside.seq if isinstance(inside, SeqStmt) else [inside])]


def only_parallel(func: PrimFunc) -> bool:
    """Return whether all that a kernel does is inside parallel loops, so that it can be fused."""
    return all(_is_parallel(stmt) for stmt in statements(func))


def _is_parallel(stmt: Any) -> bool:
    if not isinstance(stmt, For) or stmt.kind != ForKind.PARALLEL:
        return False
    # A loop of one iteration would be simplified away, and its body run by every thread.
    return not isinstance(stmt.extent, tirx.IntImm) or int(stmt.extent) > 1
