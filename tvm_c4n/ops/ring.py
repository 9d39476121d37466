"""The ring that holds keys and values: which slot a token has, and how numbers lie there.

Token number `place` of a text has slot ``place % context``. A block of `BLOCK` keys is stored
column by column, so that the lanes of a vector are keys and no sum goes across lanes; values lie
row by row (docs/decisions/kv-ring.md).
"""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.slots import Positions
from tvm_c4n.ops.spec import AttentionSpec
from tvm_c4n.ops.tir import to_float, typed

# Keys that are stored, read and scored together; divides `context`.
BLOCK = 64


def ring_shapes(spec: AttentionSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of keys and values, see `tvm_c4n.ops.attention.declare`."""
    outer = (spec.layers, spec.kv_heads, spec.context // BLOCK)
    return (*outer, spec.head_dim, BLOCK), (*outer, BLOCK, spec.head_dim)


def first_place(positions: Positions, t: Any) -> Any:
    """Return the place of the first token of a token's sequence, int64; below 0 counts as 0."""
    return T.max(positions.begin(t), T.int64(0))


def stay(spec: AttentionSpec, tokens: Any) -> Any:
    """Return how many of the call's tokens, the last ones, are in the ring afterwards."""
    return tokens if isinstance(tokens, int) else T.min(tokens, T.int64(spec.context))


def slot(spec: AttentionSpec, place: Any) -> tuple[Any, Any]:
    """Return the block of a token's slot and the place in the block."""
    found = T.floormod(place, spec.context)
    return T.floordiv(found, BLOCK), T.floormod(found, BLOCK)


def stored(spec: AttentionSpec, value: Any, lanes: int = 1) -> Any:
    """Return float32 numbers as the ring holds them."""
    if not spec.half:
        return value
    return T.reinterpret(typed("uint16", lanes), T.cast(value, typed("float16", lanes)))


def read(spec: AttentionSpec, found: Any, lanes: int = 1) -> Any:
    """Return what the ring holds as float32."""
    if not spec.half:
        return found
    return to_float(T.reinterpret(typed("float16", lanes), found), lanes)
