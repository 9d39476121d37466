"""The part of an output that a linear kernel holds in registers, and its sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack import PanelFormat
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import load, local, ramp, splat, store

_ZERO = {"float32": T.float32, "int8": T.int8, "int16": T.int16, "int32": T.int32}


@dataclass(frozen=True)
class MicroTile:
    """`panels` panels of a bundle, from `panel` on, times `tokens` tokens from `token` on.

    `before` are the bundles of other weights in front of this
    one in its array; `row` is that of the result and of the residual, if it is not `token`.
    """

    bundle: Any
    panel: Any
    panels: int
    token: Any
    tokens: int
    before: Any = 0
    row: Any = None

    def pairs(self) -> list[tuple[int, int]]:
        """All (token, panel) offsets."""
        return [(m, r) for m in range(self.tokens) for r in range(self.panels)]

    def at(self, m: int, r: int) -> int:
        """Return the number of a (token, panel) offset among `pairs`."""
        return m * self.panels + r


# A buffer of so many bytes, which are 16 vectors of AVX-512, TVM allocates on a heap.
HEAP_BYTES = 1024


class Vectors:
    """Vectors of 32 bits per row in small buffers, which LLVM keeps in registers.

    Parameters
    ----------
    count : int
        Vectors.
    lanes : int
        Rows of a vector.
    dtype : str
        float32, or an integer type: narrow ones have several elements per row.
    """

    def __init__(self, count: int, lanes: int, dtype: str = "float32"):
        bits = int(dtype.lstrip("floatin"))
        self._zero = _ZERO[dtype](0)
        self._count, self._lanes = count, lanes * 32 // bits
        together = 1 if 4 * count * lanes >= HEAP_BYTES else count
        self._buffers = [
            local((together * self._lanes,), dtype) for _ in range(count // max(together, 1))
        ]

    def _place(self, index: int) -> tuple[Any, int]:
        """Return the buffer of a vector, and its first element there."""
        if len(self._buffers) == 1:
            return self._buffers[0], index * self._lanes
        return self._buffers[index], 0

    def __getitem__(self, index: int) -> Any:
        buffer, first = self._place(index)
        return buffer[ramp(first, self._lanes)]

    def __setitem__(self, index: int, value: Any) -> None:
        buffer, first = self._place(index)
        T.buffer_store(buffer, value, [ramp(first, self._lanes)])

    def clear(self) -> None:
        """Set all to zero."""
        for index in range(self._count):
            self[index] = splat(self._zero, self._lanes)

    def element(self, index: int, lane: Any) -> Any:
        """Return one element of a vector."""
        buffer, first = self._place(index)
        return buffer[first + lane]


class Output:
    """The float32 sums of a micro-tile, and their way into the result."""

    def __init__(self, spec: LinearSpec, fmt: PanelFormat, args: LinearArgs, tile: MicroTile):
        self.spec, self.layout, self.args, self.tile = spec, fmt.layout, args, tile
        self._sums = Vectors(len(tile.pairs()), self.layout.mr)
        self._sums.clear()

    def add(self, m: int, r: int, value: Any) -> None:
        """Add a vector to the sums of a token and panel."""
        at = self.tile.at(m, r)
        self._sums[at] = self._sums[at] + value

    def store(self) -> None:
        """Multiply by the factor, add bias and residual, and store the rows that the weight has."""
        for m, r in self.tile.pairs():
            self._store(m, r)

    def _store(self, m: int, r: int) -> None:
        spec, lanes, tile = self.spec, self.layout.mr, self.tile
        panel, at = tile.bundle * self.layout.panels + tile.panel + r, tile.at(m, r)
        if spec.rows % self.layout.bundle_rows == 0:
            self._write(m, panel * lanes, lanes, self._sums[at])
            return
        whole, rest = divmod(spec.rows, lanes)
        with T.If(panel < whole), T.Then():
            self._write(m, panel * lanes, lanes, self._sums[at])
        if rest:
            with T.If(panel == whole), T.Then(), T.serial(rest) as lane:
                self._write(m, panel * lanes + lane, 1, self._sums.element(at, lane))

    def _write(self, m: int, first: Any, lanes: int, value: Any) -> None:
        row = (self.tile.token if self.tile.row is None else self.tile.row) + m
        if self.spec.factor:
            value = value * splat(T.float32(self.spec.factor), lanes)
        if self.args.factor is not None:
            value = value * splat(self.args.factor, lanes)
        if self.spec.bias:
            value = value + load(self.args.bias, (), first, lanes)
        if self.spec.residual:
            value = value + load(self.args.residual, (row,), first, lanes)
        store(self.args.out, (row,), first, lanes, value)
