"""What a block needs to emit itself: its weights, its states, and the operators' emitter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.model.description import Block
from tvm_c4n.model.relax_model.arrays import Arrays
from tvm_c4n.model.states import State
from tvm_c4n.ops import c4n_linear
from tvm_c4n.ops.emitter import Emitter
from tvm_c4n.sparsity import AnyWeight, C4nWeight


class StateVars:
    """The variables that hold the stacked states, and which layer of each comes next.

    Operators update states in place: each gives a new variable for the one that it took.
    """

    def __init__(self, variables: dict[State, Any]) -> None:
        self._variables = variables
        self._next = dict.fromkeys(variables, 0)
        self._emitted: dict[str, Any] = {}

    def update(self, state: State, emit: Callable[[Any, int], tuple[Any, Any]]) -> Any:
        """Let an operator use a state.

        Parameters
        ----------
        state : State
            Of a block.
        emit : callable
            ``emit(variable, index) -> (result, new variable)``.

        Returns
        -------
        relax.Var
            The operator's result.
        """
        stacked = next(
            s for s in self._variables if (s.name, s.shape[1:]) == (state.name, state.shape)
        )
        index = self._next[stacked]
        result, self._variables[stacked] = emit(self._variables[stacked], index)
        self._next[stacked] += 1
        return result

    def advance(self, emit: Callable[[Any], Any]) -> None:
        """Let a model advance the states that blocks share, behind all blocks."""
        for state in self._variables:
            if state.shared:
                self._variables[state] = emit(self._variables[state])

    def read(self, state: State) -> Any:
        """Return the variable of a state that blocks share."""
        return self._variables[state]

    def once(self, name: str, emit: Callable[[], Any]) -> Any:
        """Return what is emitted for the first block that asks for it."""
        if name not in self._emitted:
            self._emitted[name] = emit()
        return self._emitted[name]

    def variables(self) -> list[Any]:
        """Return the newest variables, in the order of the description."""
        return list(self._variables.values())


class BlockEmitter:
    """Emits one block.

    Parameters
    ----------
    em : Emitter
    block : Block
    arrays : Arrays
    states : StateVars
    """

    def __init__(
        self,
        em: Emitter,
        block: Block,
        arrays: Arrays,
        states: StateVars,
    ) -> None:
        self.em, self._arrays, self._states = em, arrays, states
        self._block = block
        self._prefix = block.prefix
        self._projections = {p.name: p for p in block.projections()}
        self._kinds = {s.name: s for s in block.states()}

    def linear(
        self,
        projection: str,
        x: Any,
        *,
        bias: NDArray[np.float32] | None = None,
        residual: Any = None,
    ) -> Any:
        """Emit a projection with its bias, and add the residual stream where it is given.

        A bias that is given stands for one of the projection's own.
        """
        found = self._projections[projection]
        if bias is None and found.bias is not None:
            times = np.float32(found.bias_factor)
            bias = self._arrays.converted(found.bias, lambda own: times * own, "bias")
        return c4n_linear.emit(
            self.em,
            x,
            self.weight(projection),
            bias=bias,
            residual=residual,
            factor=self._block.factor(projection),
        )

    def weight(self, projection: str) -> C4nWeight:
        """Return the weight of a projection."""
        return self._arrays.packed(self._projections[projection].weight)

    def experts(self, projection: str) -> AnyWeight:
        """Return the weight of a projection of experts."""
        return self._arrays.experts(self._projections[projection].weight)

    def matrix(self, name: str) -> C4nWeight:
        """Return a matrix of the block that is no projection, as exact as it is stored."""
        return self._arrays.exact(self._prefix + name)

    def vector(self, name: str) -> NDArray[np.float32]:
        """Return a tensor of the block."""
        return self._arrays.vector(self._prefix + name)

    def zeros(self, size: int) -> NDArray[np.float32]:
        """Return zeros, the same ones for every function of a block."""
        return self._arrays.made(
            f"{self._prefix}zeros of {size}", lambda: np.zeros(size, np.float32)
        )

    def converted(
        self,
        name: str,
        convert: Callable[[NDArray[np.float32]], NDArray[Any]],
        *,
        part: str = "",
    ) -> NDArray[Any]:
        """Return what a function makes of a tensor of the block.

        ``part`` tells the functions of one tensor apart.
        """
        return self._arrays.converted(self._prefix + name, convert, part)

    def made(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return a constant that is the same one for all functions, see `Arrays.made`."""
        return self._arrays.made(name, make)

    def once(self, name: str, emit: Callable[[], Any]) -> Any:
        """Return what blocks of a function share, see `StateVars.once`."""
        return self._states.once(name, emit)

    def read(self, state: str) -> Any:
        """Return the variable of a state that blocks share."""
        return self._states.read(self._kinds[state])

    def update(self, state: str, emit: Callable[[Any, int], tuple[Any, Any]]) -> Any:
        """Let an operator use a state of the block, see `StateVars.update`."""
        return self._states.update(self._kinds[state], emit)
