"""How many bytes the iterations of a parallel loop read that they do not share, by its code."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from relay_passes.call_tir import op_name
from tvm_c4n._tvm import (
    AttrStmt,
    Bind,
    DeclBuffer,
    For,
    If,
    SBlockRealize,
    SeqStmt,
    TensorLoad,
    TensorStore,
    While,
    tirx,
    tvm,
)

# Iterations of a loop whose extent is only known when it runs: tokens in a chunk of a prompt.
UNKNOWN_EXTENT = 128


def loop_bytes(loop: For) -> int:
    """Return the bytes of loads whose address differs from iteration to iteration, all together.

    Weights and their scales are counted, and what a projection reads for all of its rows is not:
    that stays in the caches, while these bytes have to come from memory in a decode step.
    """
    return extent_of(loop) * _Counter(loop.loop_var).count(loop.body)


def extent_of(loop: For) -> int:
    """Return the iterations of a loop, or `UNKNOWN_EXTENT`."""
    return int(loop.extent) if isinstance(loop.extent, tirx.IntImm) else UNKNOWN_EXTENT


_ADDRESS_OF = "tirx.address_of"


class _Counter:
    """Counts what one iteration loads."""

    def __init__(self, var: Any):
        # Variables, and buffers, whose value or place depends on the loop's variable.
        self._own = {var}

    def count(self, stmt: Any) -> int:
        """Count the bytes of a statement, that is of its own expressions and what it contains."""
        if isinstance(stmt, SeqStmt):
            return sum(self.count(part) for part in stmt.seq)
        if isinstance(stmt, For):
            return extent_of(stmt) * self.count(stmt.body)
        if isinstance(stmt, AttrStmt | While):
            return self.count(stmt.body)
        if isinstance(stmt, SBlockRealize):
            return self.count(stmt.block.body)
        if isinstance(stmt, If):
            arms = [stmt.then_case, *([stmt.else_case] if stmt.else_case else [])]
            return self._loads(stmt.condition) + max(self.count(arm) for arm in arms)
        if isinstance(stmt, Bind):
            return self._loads(stmt.value, names=stmt.var)
        if isinstance(stmt, DeclBuffer):
            return self._loads(stmt.data, names=stmt.buffer)
        if isinstance(stmt, TensorStore):
            return self._loads(stmt.value)
        return self._loads(stmt.value) if hasattr(stmt, "value") else 0

    def _loads(self, expr: Any, names: Any = None) -> int:
        """Count an expression's loads; what it gives a name depends on the loop if it does."""
        size_bytes, depends = 0, False
        for part in _parts(expr):
            if part in self._own:
                depends = True
            elif isinstance(part, TensorLoad) and self._differs(part):
                size_bytes += _size_bytes(part)
        if depends and names is not None:
            self._own.add(names)
        return size_bytes

    def _differs(self, load: TensorLoad) -> bool:
        if load.source in self._own:
            return True
        return any(part in self._own for index in load.indices for part in _parts(index))


def _parts(expr: Any) -> Iterator[Any]:
    """Yield an expression and all expressions in it; of a place whose address is taken, no load."""
    todo = [expr]
    while todo:
        part = todo.pop()
        if op_name(part) == _ADDRESS_OF:
            todo += [part.args[0].source, *part.args[0].indices]
            continue
        yield part
        kind: Any = type(part)
        values = [getattr(part, name) for name in _fields(kind)]
        for value in values:
            if isinstance(value, tvm.ir.Expr):
                todo.append(value)
            elif isinstance(value, tvm.ir.Array):
                todo += [item for item in value if isinstance(item, tvm.ir.Expr)]


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of a node's fields that may hold expressions."""
    known = getattr(kind, "__tvm_ffi_type_info__", None)
    names = [] if known is None else [field.name for field in known.fields]
    return tuple(name for name in names if name not in ("span", "ty", "op", "attrs"))


def _size_bytes(load: TensorLoad) -> int:
    dtype = tvm.DataType(str(load.ty))
    return int(dtype.bits) * int(dtype.lanes) // 8
