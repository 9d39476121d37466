"""Rotary position embeddings (Su et al. 2021): cosines and sines of a call's tokens.

``angle[t, i] = (position + t) * frequency[i]`` is rounded to float32 as in transformers, and its
cosine and sine are exact to float32, however large it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import PrimFunc, T, relax
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.ops.slots import Positions, declare_slots, declare_state
from tvm_c4n.ops.spec import RotarySpec
from tvm_c4n.ops.tir import build, declare_or_bind, loop, tokens_of


def frequencies(rotary: int, theta: float) -> NDArray[np.float32]:
    """Return ``theta ** (-2 i / rotary)`` for the pairs i of `rotary` elements.

    They are rounded to float32 at each step, as transformers does: times a place of 100,000, the
    last bit of a frequency is a hundredth of a radian.
    """
    exponents = np.arange(0, rotary, 2, dtype=np.float32) / np.float32(rotary)
    powers = np.float64(np.float32(theta)) ** exponents.astype(np.float64)
    return np.asarray(np.float32(1) / powers.astype(np.float32), np.float32)


def declare(spec: RotarySpec, tokens: Any) -> tuple[Any, Any, Any]:
    """Declare `Positions`, frequencies ``(rotary / 2,)`` and out ``(tokens, rotary)``.

    The first half of out are cosines, the second one sines.
    """
    position = declare_state(spec, "position", (1,), "int32")
    frequencies = declare_or_bind("frequencies", (spec.rotary // 2,))
    positions = Positions(position, declare_slots(spec))
    return positions, frequencies, declare_or_bind("out", (tokens, spec.rotary))


def turned(args: tuple[Any, Any, Any], tokens: Any) -> Any:
    """Return how many tokens have a position: in a batch those of a sequence."""
    slots = args[0].slots
    return tokens if slots is None else slots.shape[0]


def turn(spec: RotarySpec, args: tuple[Any, Any, Any], t: Any, i: Any) -> None:
    """Emit cosine and sine of a token's pair number `i`."""
    positions, frequencies, out = args
    place = T.cast(positions.place(t), "float32")
    angle = T.bind(place * frequencies[i])
    T.buffer_store(out, T.cos(angle), [t, i])
    T.buffer_store(out, T.sin(angle), [t, spec.rotary // 2 + i])


def define(spec: RotarySpec) -> PrimFunc:
    """Return the plain definition as a PrimFunc."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        with loop(turned(args, tokens)) as t, T.serial(spec.rotary // 2) as i:
            turn(spec, args, t, i)

    return build(spec, "rotary", body)


def oracle(frequencies: NDArray[np.float32], position: int, tokens: int) -> NDArray[np.float64]:
    """Compute ``(tokens, rotary)``: float64 functions of angles that are rounded to float32."""
    places = np.arange(position, position + tokens, dtype=np.float32)
    angles = np.outer(places, frequencies).astype(np.float64)
    return np.concatenate([np.cos(angles), np.sin(angles)], 1)


def emit(em: Emitter, position: Any, frequencies: NDArray[np.float32]) -> Any:
    """Emit the operator; returns ``(tokens, rotary)`` float32."""
    spec = RotarySpec(em.dynamic, 2 * len(frequencies), batched=em.batched)
    out = relax.TensorType((em.tokens, spec.rotary), "float32")
    inputs = [position, em.constant(frequencies), *em.slots]
    return em.call(define(spec), inputs, [out])[0]
