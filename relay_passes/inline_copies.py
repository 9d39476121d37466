"""InlineCopies: inside each kernel, blocks that only copy elements become index maths.

TVM fuses operators into one kernel but leaves a loop nest and a buffer for each of them, so a fused
transpose is still a copy. Here its readers read by the transposed index instead; where the copy is
the kernel's result, the block that made its input writes by the new index. Indices are simplified
with the ranges of the loops.

Preconditions: put after FuseTIR and before any schedule. Kernels of class FREE or LAYOUT
(`relay_passes.analysis`) are changed; a copy stays where a reduction would have to divide, to
choose between sources, or to take longer steps in memory for each element that it reads: it reads
an element many times, and the copy only once.
"""

from __future__ import annotations

from math import prod
from typing import Any

from relay_passes.analysis import Kind, choice, is_copy, is_one, kind_of, leaf_blocks, walk
from tvm_c4n._tvm import (
    IRModule,
    PrimFunc,
    SBlock,
    TensorLoad,
    is_reduction,
    name_of,
    s_tir,
    tirx,
    tvm,
)
from tvm_c4n.ops.tir import CACHE_LINE


@tvm.transform.module_pass(opt_level=0, name="InlineCopies")
class InlineCopies:
    """Replace copies inside kernels by index maths."""

    def transform_module(self, mod: IRModule, _ctx: Any) -> IRModule:
        """Rewrite every kernel that holds a copy."""
        return inline_all_copies(mod)


def inline_all_copies(mod: IRModule) -> IRModule:
    """Do what `InlineCopies` does."""
    out = mod.clone()
    for gvar, func in mod.functions_items():
        if kind_of(func) in (Kind.FREE, Kind.LAYOUT):
            inlined = inline_copies(func)
            if inlined is not None:
                out.update_func(gvar, inlined)
    return out


def count_copies(func: PrimFunc) -> int:
    """Return how many blocks of a kernel only copy elements."""
    return sum(map(is_copy, leaf_blocks(func)))


def inline_copies(func: PrimFunc) -> PrimFunc | None:
    """Return the kernel with as few copies as possible, None where nothing can be done.

    Parameters
    ----------
    func : PrimFunc
        Its class is FREE or LAYOUT.
    """
    inner = [name_of(b) for b in leaf_blocks(func)[:-1] if is_copy(b)]
    last = leaf_blocks(func)[-1]
    start = s_tir.Schedule(func)
    trial = _tried(start, inner, func)
    if trial is None:  # not all at once: one by one
        trial = start
        for name in inner:
            trial = _tried(trial, [name], func) or trial
    source = _only_source(leaf_blocks(trial.mod["main"]), name_of(last))
    if source is not None:
        trial = _tried(trial, [source], func) or trial
    if trial is start:
        return None
    return s_tir.transform.StmtSimplify()(trial.mod)["main"].with_attrs(func.attrs or {})


def _tried(sch: Any, names: list[str], original: PrimFunc) -> Any:
    """Inline blocks in a copy of a schedule; None where that fails or would be slow."""
    if not names:
        return None
    trial = sch.copy()
    try:
        for name in names:
            trial.compute_inline(trial.get_sblock(name))
    except s_tir.ScheduleError:
        return None
    after = s_tir.transform.StmtSimplify()(trial.mod)["main"]
    return trial if _slow_loads(after) <= _slow_loads(original) else None


def _only_source(blocks: list[SBlock], last: str) -> str | None:
    """Return the block that makes the last copy's input, if it can move into the copy.

    It must compute each element on its own, and nothing else may read its result.
    """
    copy = blocks[-1]
    if name_of(copy) != last or not is_copy(copy) or len(blocks) < 2:
        return None
    sources = [e.source for e in walk(copy.body.value) if isinstance(e, TensorLoad)]
    source = sources[0]
    if not all(s.same_as(source) for s in sources):
        return None
    if _elements(copy.body.buffer) > _elements(source):
        return None  # elements that are copied twice would be computed twice
    made = [b for b in blocks[:-1] if b.body.buffer.same_as(source)]
    if len(made) != 1 or made[0].init is not None:
        return None
    others = [b for b in blocks[:-1] if _reads(b, source)]
    return None if others else name_of(made[0])


def _reads(block: SBlock, buffer: Any) -> bool:
    loads = (e for e in walk(block.body.value) if isinstance(e, TensorLoad))
    return any(load.source.same_as(buffer) for load in loads)


def _elements(buffer: Any) -> float:
    total = 1
    for n in buffer.shape:
        if not isinstance(n, tirx.IntImm):
            return float("inf")
        total *= int(n)
    return total


def _slow_loads(func: PrimFunc) -> int:
    """Count what slows a reduction down for each element: costly indices and steps, choices."""
    count = 0
    for block in leaf_blocks(func):
        axes = [v for v in block.iter_vars if is_reduction(v)]
        reduced = [v.var for v in axes]
        if not reduced:
            continue
        inner = [v.var for v in axes if not is_one(v.dom.extent)][-1:] or reduced[-1:]
        for expr in walk(block.body.value):
            if isinstance(expr, TensorLoad):
                count += sum(_is_costly(index, reduced) for index in expr.indices)
                count += _lines(expr, inner)
            elif choice(expr) is not None:
                count += sum(isinstance(e, TensorLoad) for e in walk(expr))
    return count


def _lines(load: TensorLoad, variables: list[Any]) -> int:
    """Return how many cache lines a read steps over when a variable grows by one."""
    lines = 0
    for axis, index in enumerate(load.indices[:-1]):
        if _depends(index, variables):
            inside = load.source.shape[axis + 1 :]
            known = [int(n) for n in inside if isinstance(n, tirx.IntImm)]
            step_bytes = prod(known) * int(tvm.DataType(str(load.source.dtype)).bits) // 8
            lines += -(-step_bytes // CACHE_LINE) if len(known) == len(inside) else 1
    return lines


def _is_costly(index: Any, variables: list[Any]) -> bool:
    """Return whether an index divides or compares what depends on some variables."""
    return any(
        _depends(expr, variables)
        for expr in walk(index)
        if isinstance(expr, tirx.FloorDiv | tirx.FloorMod) or choice(expr) is not None
    )


def _depends(index: Any, variables: list[Any]) -> bool:
    inside = [e for e in walk(index) if isinstance(e, tirx.Var)]
    return any(e.same_as(v) for e in inside for v in variables)
