"""Lets a kernel write its result in the order in which a layout op would have copied it.

For kernels that end in a reduction: their last block cannot be computed inside the copy, but the
place where each element is stored can be any one-to-one function of its index.
"""

from __future__ import annotations

from typing import Any

from relay_passes.analysis import is_copy, is_one, leaf_blocks, walk
from relay_passes.inline_copies import inline_copies
from tvm_c4n._tvm import PrimFunc, TensorLoad, name_of, s_tir, tirx, tvm


def fuse_into_producer(producer: PrimFunc, layout_op: PrimFunc) -> PrimFunc | None:
    """Return the producer with the result of the layout op, None where that cannot be done.

    Parameters
    ----------
    producer : PrimFunc
        Its class is FREE, and it has one result.
    layout_op : PrimFunc
        Its class is LAYOUT; one argument, static shapes, one to one.
    """
    layout_op = inline_copies(layout_op) or layout_op
    blocks = leaf_blocks(layout_op)
    if len(blocks) != 1 or not is_copy(blocks[0]) or len(layout_op.params) != 2:
        return None
    index_map = _index_map(blocks[0])
    if index_map is None:
        return None
    schedule = s_tir.Schedule(producer)
    last = schedule.get_sblock(name_of(leaf_blocks(producer)[-1]))
    try:
        schedule.transform_layout(last, ("write", 0), index_map)
    except (s_tir.ScheduleError, tvm.error.InternalError):
        return None
    return s_tir.transform.StmtSimplify()(schedule.mod)["main"].with_attrs(producer.attrs or {})


def _index_map(block: Any) -> Any:
    """Return the map from an element's index in the source to its index in the result."""
    load = block.body.value
    if not isinstance(load, TensorLoad):
        return None
    variables = [v.var for v in block.iter_vars]
    places = zip(block.body.indices, variables, block.body.buffer.shape, strict=True)
    if not all(index.same_as(v) or is_one(n) for index, v, n in places):
        return None  # simplification makes the index of an axis of length 1 zero
    used = [e for index in load.indices for e in walk(index) if isinstance(e, tirx.Var)]
    if not all(any(e.same_as(v) for v in variables) for e in used):
        return None
    backwards = tirx.IndexMap(variables, list(load.indices), None)
    try:
        return backwards.inverse(list(block.body.buffer.shape))
    except tvm.error.InternalError:
        return None  # not one to one: a slice, a repetition
