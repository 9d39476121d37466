"""Reads the kernels that TVM's legalisation makes: loop nests of blocks, each with one store.

An operator is of one of four classes (SmartMem, ASPLOS 2024, sorts operators by the same two
questions: does the layout of its input matter, and is the layout of its output its own choice):

==========  ============================================================  =======================
class       what it is                                                    examples
==========  ============================================================  =======================
LAYOUT      every element of the result is an element of an input         transpose, slice, concat
VIEW        a layout op that keeps the order of elements in memory        reshape, squeeze
FREE        loop nests that can read and write by any index               add, matmul, layer_norm
FIXED       code that wants its operands as they are                      C4n kernels, libraries
==========  ============================================================  =======================
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from tvm_c4n._tvm import (
    Expr,
    For,
    ForKind,
    PrimFunc,
    SBlock,
    SBlockRealize,
    SeqStmt,
    TensorLoad,
    TensorStore,
    relax,
    tirx,
    tvm,
)
from tvm_c4n.ops.attrs import REGION
from tvm_c4n.ops.spec import spec_of


class Kind(Enum):
    """The class of a kernel."""

    LAYOUT = "layout op"
    VIEW = "view"
    FREE = "free"
    FIXED = "fixed"


def kind_of(func: Any) -> Kind:
    """Classify a function of a module."""
    if not isinstance(func, PrimFunc) or spec_of(func) is not None or REGION in _attrs(func):
        return Kind.FIXED
    blocks = leaf_blocks(func)
    if not blocks:
        return Kind.FIXED
    if not all(is_copy(block) for block in blocks):
        return Kind.FREE
    return Kind.VIEW if relax.analysis.has_reshape_pattern(func) else Kind.LAYOUT


def _attrs(func: PrimFunc) -> Any:
    return func.attrs if func.attrs is not None else {}


def leaf_blocks(func: PrimFunc) -> list[SBlock]:
    """Return the blocks of a plain loop nest in order; none where the body is anything else."""
    root = func.body
    if not isinstance(root, SBlockRealize):
        return []
    found: list[SBlock] = []
    return found if _collect(root.block.body, found) else []


def _collect(stmt: Any, found: list[SBlock]) -> bool:
    if isinstance(stmt, SeqStmt):
        return all(_collect(inner, found) for inner in stmt.seq)
    if isinstance(stmt, For):
        return stmt.kind == ForKind.SERIAL and _collect(stmt.body, found)
    if isinstance(stmt, SBlockRealize):
        plain = isinstance(stmt.block.body, TensorStore) and not stmt.block.alloc_buffers
        found.append(stmt.block)
        return plain
    return False


def is_copy(block: SBlock) -> bool:
    """Return whether a block only copies elements: its value is a load, or a choice of loads.

    The indices, not the data, say which: `where` is no copy.
    """
    return block.init is None and _is_choice_of_loads(block.body.value)


def _is_choice_of_loads(value: Any) -> bool:
    if isinstance(value, TensorLoad):
        return not any(map(_has_load, value.indices))
    found = choice(value)
    if found is None or _has_load(found[0]):
        return False
    return all(map(_is_choice_of_loads, found[1:]))


def _has_load(expr: Any) -> bool:
    return any(isinstance(e, TensorLoad) for e in walk(expr))


def choice(value: Any) -> tuple[Any, Any, Any] | None:
    """Return condition and branches of a conditional expression, None for any other."""
    if isinstance(value, tirx.Select):
        return value.condition, value.true_value, value.false_value
    if isinstance(value, tvm.ir.Call) and value.op.name == "prim.if_then_else":
        return value.args[0], value.args[1], value.args[2]
    return None


def is_one(value: Any) -> bool:
    """Return whether a length is known to be 1."""
    return isinstance(value, tirx.IntImm) and int(value) == 1


def walk(expr: Any) -> Iterator[Any]:
    """Yield an expression and all expressions inside it."""
    yield expr
    for name in ("a", "b", "value", "condition", "true_value", "false_value"):
        inner = getattr(expr, name, None)
        if isinstance(inner, Expr):
            yield from walk(inner)
    for name in ("indices", "args"):
        for inner in getattr(expr, name, None) or ():
            if isinstance(inner, Expr):
                yield from walk(inner)
