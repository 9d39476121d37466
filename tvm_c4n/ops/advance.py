"""How many tokens of a text have been read: a call adds its own when all layers have used it."""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import PrimFunc, T
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.spec import AdvanceSpec
from tvm_c4n.ops.tir import build, declare_or_bind, tokens_of


def declare(spec: AdvanceSpec, tokens: Any) -> tuple[Any, Any]:
    """Declare ids ``(tokens,)``, which only says how many there are, and position ``(1,)``."""
    return declare_or_bind("ids", (tokens,), "int32"), declare_or_bind("position", (1,), "int32")


def add(args: tuple[Any, Any], tokens: Any) -> None:
    """Emit the only statement."""
    _, position = args
    T.buffer_store(position, position[0] + T.cast(tokens, "int32"), [0])


def define(spec: AdvanceSpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc, which needs no schedule."""

    def body() -> None:
        tokens = tokens_of(spec)
        add(declare(spec, tokens), tokens)

    return build(spec, "advance", body)


def emit(em: Emitter, ids: Any, position: Any) -> Any:
    """Emit the operator, behind all that reads `position`; returns the new one, in its memory."""
    return em.call(define(AdvanceSpec(em.dynamic)), [ids, position], [position.ty], inplace=1)[0]
