"""How many tokens of a text have been read: a call adds its own when all layers have used it."""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import PrimFunc, T
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import declare_state, slot_of
from tvm_c4n.ops.spec import AdvanceSpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of


def declare(spec: AdvanceSpec, tokens: Any) -> tuple[Any, Any]:
    """Declare ids ``(tokens,)`` and position ``(1,)``.

    The ids only say how many there are; in a batch slots ``(sequences,)`` are in their place.
    """
    ids = declare_or_bind("ids", (tokens,), "int32")
    return ids, declare_state(spec, "position", (1,), "int32")


def add(spec: AdvanceSpec, args: tuple[Any, Any], tokens: Any) -> None:
    """Emit the only statement, in a batch for each token."""
    ids, position = args
    if spec.batched:
        with loop(tokens) as t:
            slot = slot_of(ids, t)
            T.buffer_store(position, position[0, slot] + 1, [0, slot])
        return
    T.buffer_store(position, position[0] + T.cast(tokens, "int32"), [0])


def define(spec: AdvanceSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc, which needs no schedule."""

    def body() -> None:
        tokens = tokens_of(spec)
        add(spec, declare(spec, tokens), tokens)

    return build(spec, "advance", body)


def emit(em: Emitter, ids: Any, position: Any) -> Any:
    """Emit the operator, behind all that reads `position`; returns the new one, in its memory."""
    spec = AdvanceSpec(em.dynamic, batched=em.batched)
    inputs = [*(em.slots or [ids]), position]
    return em.call(define(spec), inputs, [position.ty], inplace=1)[0]
