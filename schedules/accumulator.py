"""Sums of products that must be scaled: cleared, added to, and flushed into an `Output`."""

from __future__ import annotations

from typing import Any

from schedules.intrin.base import Intrinsics, ZeroPoint
from schedules.micro_tile import MicroTile, Output, Vectors
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack.paired_panel import OFFSET
from tvm_c4n.ops.tir import splat


class ScaledFloats:
    """float32 sums that share a scale per row."""

    def __init__(self, lanes: int, tile: MicroTile, out: Output):
        self._tile, self._out = tile, out
        self._sums = Vectors(len(tile.pairs()), lanes)

    def clear(self) -> None:
        """Set the sums to zero."""
        self._sums.clear()

    def add(self, m: int, r: int, value: Any) -> None:
        """Add a vector to the sums of a token and panel."""
        at = self._tile.at(m, r)
        self._sums[at] = self._sums[at] + value

    def flush(self, r: int, scales: Any) -> None:
        """Scale a panel's sums into the output."""
        for m in range(self._tile.tokens):
            self._out.add(m, r, scales * self._sums[self._tile.at(m, r)])


class IntegerDots:
    """Integer dot products, with the zero-point correction that the instruction set needs.

    ``dot`` of some instruction sets multiplies by an operand with an offset added. What the offset
    adds is summed up along with the products, and subtracted when the sums are flushed. It follows
    from the weights, for all tokens alike, or from the activations, for all panels alike
    (docs/decisions/zero-point-correction.md).
    """

    def __init__(self, intrin: Intrinsics, args: LinearArgs, tile: MicroTile, out: Output):
        self._intrin, self._args, self._tile, self._out = intrin, args, tile, out
        self._sums = Vectors(len(tile.pairs()), intrin.lanes, intrin.sum_dtype)
        self._side = intrin.zero_point_side
        if self._side is not ZeroPoint.NONE:
            count = tile.panels if self._side is ZeroPoint.OF_WEIGHTS else tile.tokens
            self._zero_point_sums = Vectors(count, intrin.lanes, intrin.zero_point_dtype)

    def clear(self) -> None:
        """Set the sums to zero."""
        self._sums.clear()
        if self._side is not ZeroPoint.NONE:
            self._zero_point_sums.clear()

    def add(self, r: int, weight: Any, activations: list[Any]) -> None:
        """Add a panel's chunk times the activations of each token."""
        for m, x in enumerate(activations):
            self.add_token(m, r, weight, x)
        self.added_to_all_tokens(r, weight)

    def add_token(self, m: int, r: int, weight: Any, x: Any) -> None:
        """Add a panel's chunk times the activations of one token."""
        at = self._tile.at(m, r)
        self._sums[at] = self._intrin.dot(self._sums[at], weight, x)

    def added_to_all_tokens(self, r: int, weight: Any) -> None:
        """Tell that all tokens' activations have been multiplied by a panel's chunk."""
        if self._side is ZeroPoint.OF_WEIGHTS:
            self._correct(r, weight)

    def added_to_all_panels(self, activations: list[Any]) -> None:
        """Tell that all panels' chunks have been multiplied by the same activations."""
        if self._side is ZeroPoint.OF_ACTIVATIONS:
            for m, x in enumerate(activations):
                self._correct(m, x)

    def _correct(self, at: int, operand: Any) -> None:
        sums = self._zero_point_sums
        sums[at] = self._intrin.add_zero_point(sums[at], operand)

    def flush(self, scale_group: Any, output_scale: float, row_scales: Any) -> None:
        """Scale the sums into the output.

        Parameters
        ----------
        scale_group : int or PrimExpr
            Number of the activations' scale.
        output_scale : float
            What all sums are multiplied by.
        row_scales : callable
            ``row_scales(r)`` reads the scales of a panel's rows.
        """
        tile = self._tile
        x_scales = [
            T.bind(self._args.x_scales[tile.token + m, scale_group] * T.float32(output_scale))
            for m in range(tile.tokens)
        ]
        for r in range(tile.panels):
            scales = row_scales(r)
            for m in range(tile.tokens):
                total = self._intrin.to_float(self._total(m, r))
                self._out.add(m, r, total * (scales * splat(x_scales[m], self._intrin.lanes)))

    def _total(self, m: int, r: int) -> Any:
        """Return the int32 sums of a token and panel, corrected."""
        sums, correction = self._sums[self._tile.at(m, r)], None
        if self._side is not ZeroPoint.NONE:
            at = r if self._side is ZeroPoint.OF_WEIGHTS else m
            correction = self._zero_point_sums[at]
        return self._intrin.total(sums, correction)


class WholeByteDots(IntegerDots):
    """Integer products with the bytes of `PairedPanel`: whole ones, and their low halves.

    The low half b + 8 of a byte is an even panel's weight b with an offset, which the activations
    correct; the whole byte is 16 times the next panel's weight, and the low half.
    """

    def __init__(self, intrin: Intrinsics, args: LinearArgs, tile: MicroTile, out: Output):
        super().__init__(intrin, args, tile, out)
        self._offsets = Vectors(tile.tokens, intrin.lanes, intrin.sum_dtype)

    def clear(self) -> None:
        """Set the sums to zero."""
        super().clear()
        self._offsets.clear()

    def add_offset(self, m: int, x: Any) -> None:
        """Tell the activations of a token by which all panels have been multiplied: 16 bytes."""
        eights = splat(T.int8(OFFSET), 4 * self._intrin.lanes)
        self._offsets[m] = self._intrin.dot(self._offsets[m], eights, x)

    def _total(self, m: int, r: int) -> Any:
        low = self._sums[self._tile.at(m, r // 2 * 2)]
        if r % 2:
            return self._sums[self._tile.at(m, r)] - low
        # As the other sums: 16 times the weights' products.
        weights = low - self._intrin.sum_of_lanes(self._offsets[m])
        return weights << splat(T.int32(4), self._intrin.lanes)


class PairDots(IntegerDots):
    """Integer products of pairs of rows and pairs of tokens, for panels of four rows.

    The sums of tokens m and m + 1 with the pairs of a panel's rows take the places of the two
    tokens': a vector has both tokens' sums with the first pair, or with the second.
    """

    def add_pairs(self, r: int, number: int, weights: Any, pairs: list[Any]) -> None:
        """Add eight columns of a pair of a panel's rows times those of each pair of tokens."""
        for pair, x in enumerate(pairs):
            at = self._tile.at(2 * pair + number, r)
            self._sums[at] = self._intrin.dot_pairs(self._sums[at], x, weights)

    def _total(self, m: int, r: int) -> Any:
        first = m % 2 * 2
        both = [self._sums[self._tile.at(m // 2 * 2 + number, r)] for number in range(2)]
        return T.Shuffle(both, [T.int32(first + i) for i in (0, 1, 4, 5)])
