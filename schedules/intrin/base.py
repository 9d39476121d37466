"""The interface between the kernels and the instruction sets.

All vectors have one 32-bit lane per row of a panel; a byte vector has four bytes for each lane.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from schedules.intrin.indices import Indices
from tvm_c4n._tvm import T
from tvm_c4n.ops.isa import Isa
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import ramp, to_float

# In a lane: where the four groups of a 16-byte window start.
GROUP_BYTES = 0x0C080400


# The codes of fields of two bits are odd (`tvm_c4n.sparsity.CODES`).
ODD_BITS = 2


class ZeroPoint(Enum):
    """Which operand the zero-point correction of `Intrinsics.dot` is computed from."""

    NONE = "none"
    OF_WEIGHTS = "weights"
    OF_ACTIVATIONS = "activations"


def repeat(vector: Any, length: int, times: int) -> Any:
    """Repeat a vector of `length` elements (a broadcast load once LLVM has seen it)."""
    if times == 1:
        return vector
    return T.Shuffle([vector] * times, [T.int32(i) for i in range(length * times)])


class Intrinsics(ABC):
    """Gathers and dot products of one instruction set, and its kernels' defaults.

    The defaults here are for a CPU that nobody measured: few sums at once, for it may have few
    registers, and no prefetches.

    Attributes
    ----------
    isa : Isa
    zero_point_side : ZeroPoint
        What `add_zero_point` must add up, because `dot` multiplies an operand with an offset:
        ``x + 128`` instead of x, which the weights correct, or the weight and a constant, which the
        activations correct.
    sum_dtype : str
        Type of the sums that `dot` adds to; `total` makes int32 of them.
    zero_point_dtype : str
        Type of the sums that `add_zero_point` adds to.
    gemv_panels : int
        Panels of a GEMV in flight: enough independent sums to hide the latency of the dot product.
    unrolled_slices : int
        Slices of a k-block that a kernel unrolls, at most; more are a loop.
    panels_at_once : int or None
        Panels that take the chunks of several windows before the next ones take theirs: positions
        and pairs of weights are held for these at a time, and several windows. Each of them has
        its own `indices`. None: all panels take the chunks of one window at a time.
    conv_vectors : int
        Vectors of channels that a core interleaves in a convolution's prefill, at most: a whole
        cache line at least, for the next token's line lies elsewhere.
    sums : int
        Vectors of sums that registers hold in attention, beside what is added to them.
    prefetches_rows : bool
        Whether one token's scan and convolution prefetch: their states and weights are many rows,
        more than the CPU's own prefetchers follow (docs/decisions/scan-interleaving.md).
    repeats_windows : bool
        Whether it is work to repeat a window over the lanes of a vector: a GEMM does it once then
        for the tokens of a micro-tile, instead of once for each panel
        (docs/decisions/prefill-gemm.md).
    unpacked_tile : tuple of int or None
        Panels and tokens of the micro-tile of a GEMM that unpacks integers once for all tokens
        (docs/decisions/avx2.md); None: no GEMM does.
    weight_vectors : int
        Vectors that `prepare_w` makes of a chunk.
    prepares_x : bool
        Whether `prepare_x` does anything: that GEMM does it once for all panels.
    multiplies_pairs : bool
        Whether `dot_pairs` is there: a GEMM of integers multiplies small matrices then.
    multiplies_both : bool
        Whether the bytes of `PairedPanel` are multiplied as they are, see `PairedBody`;
        `sum_of_lanes` is there then.
    pair_tile : tuple of int
        Panels and tokens of its micro-tile.
    ssd_tokens, ssd_vectors : int
        Tokens of a chunk and vectors of channels of a task of Mamba-2's scan. Registers bound their
        product: each token has a vector of x and one of y for each vector of the state
        (docs/decisions/ssd-prefill.md).
    delta_tokens, delta_vectors : int
        The same of the gated delta rule, where each token has two vectors of sums for each vector
        of the state (docs/decisions/delta-rule.md).
    """

    isa: Isa
    zero_point_side: ZeroPoint = ZeroPoint.NONE
    sum_dtype: str = "int32"
    zero_point_dtype: str = "int32"
    gemv_panels: int = 1
    unrolled_slices: int = 0
    panels_at_once: int | None = None
    conv_vectors: int = 4
    sums: int = 12
    prefetches_rows: bool = False
    repeats_windows: bool = False
    unpacked_tile: tuple[int, int] | None = None
    weight_vectors: int = 1
    prepares_x: bool = False
    multiplies_pairs: bool = False
    multiplies_both: bool = False
    pair_tile: tuple[int, int] = (4, 4)
    ssd_tokens: int = 2
    ssd_vectors: int = 2
    delta_tokens: int = 1
    delta_vectors: int = 4

    @property
    def lanes(self) -> int:
        """32-bit lanes of a vector."""
        return self.isa.lanes

    @property
    def bytes_type(self) -> str:
        """Type of a vector of bytes."""
        return f"int8x{4 * self.lanes}"

    @property
    def ints_type(self) -> str:
        """Type of a vector of int32."""
        return f"int32x{self.lanes}"

    def for_weights(self, spec: LinearSpec) -> Intrinsics:
        """Return the variant that multiplies an operator's weights."""
        return self

    def accumulate_cols(self, removed: int) -> int | None:
        """Return the columns that sums hold; None: a scale group of any length."""
        return None

    def opaque(self, bundle: Any) -> Any:
        """Return the number of a bundle so that LLVM does not fold it into each load's address."""
        return bundle

    # Defaults of what tuning decides.

    def prefetch_distance(self, spec: LinearSpec, size_bytes: int) -> int:
        """Return how far ahead a GEMV prefetches its weights (into L2), in bytes; 0: not at all.

        Parameters
        ----------
        spec : LinearSpec
        size_bytes : int
            Of the repacked weight.
        """
        return 0

    def micro_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        """Return panels and tokens of a GEMM's micro-tile: their sums must fit the registers.

        Parameters
        ----------
        spec : LinearSpec
        panels : int
            Panels of a bundle: with more, the micro-tile has these.
        """
        return 1, 2

    def batch_tile(self, spec: LinearSpec, panels: int) -> tuple[int, int]:
        """Return panels and tokens of a batched step's micro-tile; tokens are a power of two."""
        height, tokens = self.micro_tile(spec, panels)
        return min(height, panels), 1 << (tokens.bit_length() - 1)

    # Activations.

    def prepare_x(self, x: Any) -> Any:
        """Bring a vector of activations into the form that `dot` wants."""
        return x

    def window(self, x: Any, token: Any, start: Any) -> Any:
        """Read the 16 activations from column `start` on, for `gather`."""
        return T.bind(self.prepare_x(self._sixteen(x, token, start)))

    def plain_window(self, x: Any, token: Any, start: Any) -> Any:
        """Read 16 activations as `window` does, where they are prepared or need not be."""
        return T.bind(self._sixteen(x, token, start))

    def _sixteen(self, x: Any, token: Any, start: Any) -> Any:
        return repeat(x[token, ramp(start, 16)], 16, self.lanes // 4)

    def quad(self, x: Any, token: Any, start: Any) -> Any:
        """Read the same four activations into each lane."""
        return T.bind(self.prepare_x(self._four(x, token, start)))

    def plain_quad(self, x: Any, token: Any, start: Any) -> Any:
        """Read four activations as `quad` does, where they are prepared or need not be."""
        return T.bind(self._four(x, token, start))

    def _four(self, x: Any, token: Any, start: Any) -> Any:
        word = T.reinterpret("int32", x[token, ramp(start, 4)])
        return T.reinterpret(self.bytes_type, T.broadcast(word, self.lanes))

    def quads(self, x: Any, token: Any, start: Any, count: int) -> list[Any]:
        """Read `count` times four activations from column `start` on, each as `quad` does."""
        return [self.quad(x, token, start + 4 * k) for k in range(count)]

    # Gathers.

    def indices(self) -> Indices:
        """Return what makes the byte indices of a slice."""
        return Indices(self)

    def turned(self, window: Any) -> Any:
        """Bring a window into the order that `Indices.of_nested` wants for codes number 1."""
        return window

    def shifted(self, window: Any, k: int) -> Any:
        """Return the window in which place p of each group is that of the k-th weight without p."""
        places = [4 * group + k + (p <= k) for group in range(4) for p in range(4)]
        return T.bind(self.gather(window, self.repeated(places)))

    def repeated(self, values: list[int]) -> Any:
        """Return ``int8`` bytes that are these values over and over, at most 16."""
        words = np.resize(np.array(values, np.int8), 16).view(np.int32)
        every = [T.int32(int(word)) for word in words] * (self.lanes // 4)
        vector = T.Shuffle(every, [T.int32(i) for i in range(self.lanes)])
        return T.reinterpret(self.bytes_type, vector)

    def codes(self, words: Any, field: int) -> Any:
        """Extract the 2-bit codes number `field` of each byte of ``uint32`` words."""
        shifted = words >> T.broadcast(T.uint32(2 * field), self.lanes)
        return shifted & T.broadcast(T.uint32(0x03030303), self.lanes)

    def gather_index(self, words: Any, field: int) -> Any:
        """Return byte indices into a window from the codes number `field` of each byte."""
        group = T.broadcast(T.uint32(GROUP_BYTES), self.lanes)
        return T.reinterpret(self.bytes_type, self.codes(words, field) | group)

    @abstractmethod
    def gather(self, window: Any, index: Any) -> Any:
        """Gather bytes of a window by byte indices 0..15."""

    @abstractmethod
    def gather_floats(self, x: Any, token: Any, start: Any, code: Any) -> Any:
        """Gather one of the four float32 activations from `start` on for each lane.

        `code` is ``uint32``, 0..3 in each lane.
        """

    # Products.

    def prepare_w(self, w: Any) -> Any:
        """Compute once what several `dot` calls need of a vector of weights."""
        return T.bind(w)

    def unpack_nibbles(self, pairs: Any, high: bool) -> Any:
        """Take a chunk of int4 weights out of ``uint8`` pairs, as ``int8``.

        Here they stay in the upper half of their byte, 16 times too large: `output_scale` undoes
        it once per sum.
        """
        width = 4 * self.lanes
        if high:
            found = pairs & T.broadcast(T.uint8(0xF0), width)
        else:
            found = pairs << T.broadcast(T.uint8(4), width)
        return T.reinterpret(self.bytes_type, found)

    def unpack_half(self, both: Any, odd: Any) -> Any:
        """Take an even or odd panel's chunk of `PairedPanel` out of its bytes, as ``int8``.

        As `unpack_nibbles`, 16 times too large. `odd` is 0 or 1, not always known here.
        """
        width = 4 * self.lanes
        left, sign = (T.cast(part * (1 - odd), "uint8") for part in (4, 0x80))
        found = both << T.broadcast(left, width) & T.broadcast(T.uint8(0xF0), width)
        return T.reinterpret(self.bytes_type, found ^ T.broadcast(sign, width))

    def unpack_field(self, pieces: list[tuple[Any, int, int]]) -> Any:
        """Take a chunk of int3 or int2 weights out of bits of ``uint8`` bytes, as ``int8``.

        Here the field goes to the top of its byte, where it is 32 times the weight; of two bits the
        one below it makes the codes odd.

        Parameters
        ----------
        pieces : list of tuple
            Bytes, the lowest bit and the number of bits, from the field's high bits down.
        """
        place, found = 8, []
        for vector, low, bits in pieces:
            place -= bits
            found.append(self.masked(vector, place - low, (1 << bits) - 1 << place))
        total = reduce(or_, found)
        if place == 8 - ODD_BITS:
            total = total | self.every_byte(1 << (place - 1))
        return T.reinterpret(self.bytes_type, total)

    def every_byte(self, value: int) -> Any:
        """Return words whose bytes all have a value."""
        return T.broadcast(T.uint32(0x01010101 * value), self.lanes)

    def masked(self, vector: Any, left: int, mask: int) -> Any:
        """Return bytes shifted left (right where negative) and masked, as ``uint32`` words."""
        words = T.reinterpret(f"uint32x{self.lanes}", vector)
        by = T.broadcast(T.uint32(abs(left)), self.lanes)
        if left:
            words = words << by if left > 0 else words >> by
        return words & self.every_byte(mask)

    def output_scale(self, dtype: str) -> float:
        """Return what sums of products with unpacked weights are multiplied by."""
        return {"int4": 1 / 16, "int3": 1 / 32, "int2": 1 / 32}.get(dtype, 1.0)

    @abstractmethod
    def dot(self, acc: Any, w: Any, x: Any) -> Any:
        """Add the dot product of four bytes to each 32-bit lane of sums; |x| <= 127."""

    def dot_pairs(self, acc: Any, x: Any, w: Any) -> Any:
        """Add the dot products of eight bytes of each of two tokens with each of two rows.

        A vector has the two tokens' bytes, or the two rows', one behind the other; the sums have
        those of the first token in front.
        """
        raise AssertionError(f"{self.isa.name} multiplies no pairs")

    def sum_of_lanes(self, sums: Any) -> Any:
        """Return a vector of int32 whose lanes all have the sum of a vector's lanes."""
        raise AssertionError(f"{self.isa.name} multiplies no pairs of panels")

    def add_zero_point(self, acc: Any, operand: Any) -> Any:
        """Add up weights or activations for `total`, as `zero_point_side` says."""
        raise AssertionError(f"{self.isa.name} needs no zero-point correction")

    def total(self, sums: Any, correction: Any) -> Any:
        """Return the int32 sum of each lane.

        `correction` is what `add_zero_point` added up; None without a zero point.
        """
        return sums if self.zero_point_side is ZeroPoint.NONE else sums - correction

    def to_float(self, total: Any) -> Any:
        """Convert int32 sums to float32."""
        return to_float(total, self.lanes)
