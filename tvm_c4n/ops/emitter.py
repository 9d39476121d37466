"""Emits C4n operators into the Relax function that a BlockBuilder is building."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import GenericConst, PrimFunc, relax
from tvm_c4n.ops.attrs import KIND


class ConstantPool:
    """Makes each array a constant once, so that several functions share its memory."""

    def __init__(self) -> None:
        # The array is kept with its constant: its id must not be used again.
        self._made: dict[int, tuple[NDArray[Any], GenericConst]] = {}

    def __call__(self, array: NDArray[Any]) -> GenericConst:
        """Return the constant of an array, compared by identity."""
        if id(array) not in self._made:
            made = relax.const(np.ascontiguousarray(array))
            self._made[id(array)] = (array, made)
        return self._made[id(array)][1]


class Emitter:
    """A BlockBuilder with the number of tokens and the constants that the operators need.

    Parameters
    ----------
    bb : relax.BlockBuilder
        Inside a function and a dataflow block.
    tokens : int or tir.Var
        1 for a decode step, a symbolic variable for prefill.
    pool : ConstantPool
        Shared by the functions of a module.
    slots : relax.Var, optional
        ``(sequences,)`` int32: each of the first tokens is the next one of the sequence that has
        this slot; see `tvm_c4n.ops.slots`.

    Attributes
    ----------
    slots : list of relax.Var
        The slots, where there are some.
    """

    def __init__(self, bb: relax.BlockBuilder, tokens: Any, pool: ConstantPool, slots: Any = None):
        self.bb, self.tokens, self.constant = bb, tokens, pool
        self.slots: list[Any] = [] if slots is None else [slots]
        # The results of calls on variables: several projections quantise the same activations.
        self._made: dict[tuple[Any, ...], list[Any]] = {}

    @property
    def dynamic(self) -> bool:
        """Whether the number of tokens is symbolic."""
        return not isinstance(self.tokens, int)

    @property
    def batched(self) -> bool:
        """Whether each token belongs to a sequence of its own."""
        return bool(self.slots)

    def index(self, layer: int) -> list[Any]:
        """Return what operators take behind a state: the layer, and the slots."""
        return [relax.prim_value(layer), *self.slots]

    def call(
        self,
        func: PrimFunc,
        inputs: Sequence[Any],
        outputs: Sequence[relax.TensorType],
        inplace: int | Sequence[int] | None = None,
    ) -> list[Any]:
        """Call a PrimFunc, once for the same variables unless it updates some of them.

        Parameters
        ----------
        func : PrimFunc
            Added to the module, once for equal functions.
        inputs : sequence of relax.Expr
        outputs : sequence of relax.TensorType
        inplace : int or sequence of int, optional
            The first outputs are these inputs, updated in place.

        Returns
        -------
        list of relax.Var
            One for each output.
        """
        name = str(func.attrs[KIND])
        gvar = self.bb.add_func(func, name)
        known = (gvar, *inputs)
        reusable = inplace is None and all(isinstance(value, relax.Var) for value in inputs)
        if reusable and known in self._made:
            return list(self._made[known])
        if inplace is None:
            call = relax.call_tir(gvar, list(inputs), list(outputs))
        else:
            places = [inplace] if isinstance(inplace, int) else list(inplace)
            places += [-1] * (len(outputs) - len(places))
            call = relax.op.call_tir_inplace(gvar, list(inputs), places, list(outputs))
        result = self.bb.emit(call)
        found = [result]
        if len(outputs) > 1:
            found = [self.bb.emit(relax.TupleGetItem(result, i)) for i in range(len(outputs))]
        if reusable:
            self._made[known] = list(found)
        return found
