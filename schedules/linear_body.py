"""The inner code of C4n linear kernels: some tokens times some row tiles.

The same code serves a decode step (one token) and prefill (several tokens share each load and each
unpacking of the weights). Accumulators are small local buffers with constant indices, which LLVM
keeps in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schedules.intrin.base import GROUP_BYTES, Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.packed import CODES, UNIT, WINDOW, chunks_of, tiles_of, units_of
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import load, local, ramp, splat, store, to_float


@dataclass(frozen=True)
class Block:
    """`tiles` row tiles from `tile` on, times `tokens` tokens from `token` on."""

    tile: Any
    tiles: int
    token: Any
    tokens: int

    def pairs(self) -> list[tuple[int, int]]:
        """All (token, tile) offsets."""
        return [(m, r) for m in range(self.tokens) for r in range(self.tiles)]


class LinearBody:
    """Emits the code of one block of a linear operator."""

    def __init__(self, intrin: Intrinsics, spec: LinearSpec, args: LinearArgs, block: Block):
        self.intrin, self.spec, self.args, self.block = intrin, spec, args, block
        self.lanes = intrin.lanes
        self.acc = local((block.tokens * block.tiles * self.lanes,))

    def emit(self) -> None:
        """Emit accumulation and the store of the result."""
        for m, r in self.block.pairs():
            self._set(self.acc, m, r, splat(T.float32(0), self.lanes))
        if self.spec.integer:
            self._integer()
        elif self.spec.removed == 0:
            self._dense_float()
        else:
            self._sparse_float()
        for m, r in self.block.pairs():
            self._store(m, r)

    def _at(self, m: int, r: int) -> Any:
        return (m * self.block.tiles + r) * self.lanes

    def _get(self, buffer: Any, m: int, r: int) -> Any:
        return load(buffer, (), self._at(m, r), self.lanes)

    def _set(self, buffer: Any, m: int, r: int, value: Any) -> None:
        store(buffer, (), self._at(m, r), self.lanes, value)

    def _store(self, m: int, r: int) -> None:
        spec, args = self.spec, self.args
        token, tile = self.block.token + m, self.block.tile + r

        def write(first: Any, lanes: int, value: Any) -> None:
            if spec.bias:
                value = value + load(args.bias, (), first, lanes)
            if spec.residual:
                value = value + load(args.residual, (token,), first, lanes)
            store(args.out, (token,), first, lanes, value)

        rest = spec.rows % self.lanes
        if rest == 0:
            write(tile * self.lanes, self.lanes, self._get(self.acc, m, r))
            return
        with T.If(tile == tiles_of(spec) - 1):
            with T.Then(), T.serial(rest) as lane:
                write(tile * self.lanes + lane, 1, self.acc[self._at(m, r) + lane])
            with T.Else():
                write(tile * self.lanes, self.lanes, self._get(self.acc, m, r))

    # Float weights: one multiply-add a kept weight.

    def _multiply_add(self, m: int, r: int, weight: Any, x: Any) -> None:
        self._set(self.acc, m, r, self._get(self.acc, m, r) + weight * x)

    def _dense_float(self) -> None:
        step = 8
        whole = self.spec.cols // step

        def column(k: Any) -> None:
            for r in range(self.block.tiles):
                values = load(self.args.values, (self.block.tile + r, k), 0, self.lanes)
                weight = T.bind(to_float(values, self.lanes))
                for m in range(self.block.tokens):
                    x = splat(self.args.x[self.block.token + m, k], self.lanes)
                    self._multiply_add(m, r, weight, x)

        if whole:
            with T.serial(whole) as outer:
                for k in range(step):
                    column(outer * step + k)
        for k in range(whole * step, self.spec.cols):
            column(k)

    def _sparse_float(self) -> None:
        groups = self.spec.cols // 4
        per_word = 16 // CODES[self.spec.removed]
        whole = groups // per_word
        if whole:
            with T.serial(whole) as word:
                self._float_word(word, per_word)
        if groups % per_word:
            self._float_word(whole, groups % per_word)

    def _float_word(self, word: Any, groups: int) -> None:
        """Multiply the groups whose codes one position word holds."""
        spec, args, block, lanes = self.spec, self.args, self.block, self.lanes
        per_group = CODES[spec.removed]
        words = [
            T.bind(load(args.positions, (block.tile + r, word), 0, lanes))
            for r in range(block.tiles)
        ]
        for g in range(groups):
            group = word * (16 // per_group) + g
            for r in range(block.tiles):
                for k in range(spec.kept):
                    code = T.bind(self._float_code(words[r], g * per_group, k))
                    values = load(args.values, (block.tile + r, group, k), 0, lanes)
                    weight = T.bind(to_float(values, lanes))
                    for m in range(block.tokens):
                        x = self.intrin.pick_floats(args.x, block.token + m, group * 4, code)
                        self._multiply_add(m, r, weight, x)

    def _float_code(self, word: Any, field: int, k: int) -> Any:
        """Position of the k-th kept weight of the group whose codes start at `field`."""

        def code(index: int) -> Any:
            shifted = word >> splat(T.uint32(2 * index), self.lanes)
            return shifted & splat(T.uint32(3), self.lanes)

        if self.spec.removed != 1:
            return code(field + k)
        here, after = (splat(T.uint32(v), self.lanes) for v in (k, k + 1))
        return T.Select(code(field) > here, here, after)

    # Integer weights: four bytes a lane at a time, sums scaled once a scale group.

    def _integer(self) -> None:
        spec, block = self.spec, self.block
        self.sums = local((block.tokens * block.tiles * self.lanes,), "int32")
        if self.intrin.corrected:
            self.shift_sums = local((block.tiles * self.lanes,), "int32")
        step = max(1, spec.scale_group // UNIT)
        with T.serial(units_of(spec) // step) as outer:
            for inner in range(step):
                self._unit(outer * step + inner, inner, step)

    def _unit(self, unit: Any, inner: int, step: int) -> None:
        """64 columns; `inner` of `step` units that may share a scale group."""
        spec, block, per_scale = self.spec, self.block, self.spec.scale_group
        words = self._words(unit)
        packed: dict[int, Any] = {}
        for window in range(UNIT // WINDOW):
            column = inner * UNIT + window * WINDOW
            if column % per_scale == 0:
                self._clear()
            start = unit * UNIT + window * WINDOW
            xs = self._activations(start)
            for r in range(block.tiles):
                for k in range(4 if spec.removed == 0 else spec.kept):
                    chunk = window * (chunks_of(spec.removed) // 4) + k
                    weight = self._weights(packed, unit, chunk, r)
                    index = self._index(words, window, k, r)
                    self._chunk(
                        r,
                        weight,
                        [
                            x if index is None else self.intrin.pick(x, index)
                            for x in self._chunk_x(xs, k)
                        ],
                    )
            if (column + WINDOW) % per_scale == 0:
                scale = (unit - inner) * UNIT // per_scale + column // per_scale
                self._flush(scale)

    def _activations(self, start: Any) -> list[Any]:
        """For each token the window, or (dense weights) its four quads."""
        tokens = [self.block.token + m for m in range(self.block.tokens)]
        if self.spec.removed:
            return [self.intrin.window(self.args.x, token, start) for token in tokens]
        return [
            [self.intrin.quad(self.args.x, token, start + 4 * k) for k in range(4)]
            for token in tokens
        ]

    def _chunk_x(self, xs: list[Any], k: int) -> list[Any]:
        return xs if self.spec.removed else [quads[k] for quads in xs]

    def _words(self, unit: Any) -> list[list[Any]]:
        """Load the position words of each tile."""
        if self.spec.removed == 0:
            return []
        count = 2 if self.spec.removed == 2 else 1
        return [
            [
                T.bind(load(self.args.positions, (self.block.tile + r, unit, w), 0, self.lanes))
                for w in range(count)
            ]
            for r in range(self.block.tiles)
        ]

    def _index(self, words: list[list[Any]], window: int, k: int, r: int) -> Any:
        """Byte indices into the window of the k-th kept weights; None for dense weights."""
        removed, lanes = self.spec.removed, self.lanes
        if removed == 0:
            return None
        field = window if removed == 1 else window * self.spec.kept + k
        word = words[r][field // 4] >> splat(T.uint32(2 * (field % 4)), lanes)
        codes = word & splat(T.uint32(0x03030303), lanes)
        if removed != 1:
            return T.bind(
                T.reinterpret(self.intrin.bytes_type, codes | splat(T.uint32(GROUP_BYTES), lanes))
            )
        gone = T.reinterpret(self.intrin.bytes_type, codes)
        here, after = (
            T.reinterpret(
                self.intrin.bytes_type, splat(T.uint32(GROUP_BYTES + 0x01010101 * v), lanes)
            )
            for v in (k, k + 1)
        )
        return T.bind(T.Select(gone > splat(T.int8(k), 4 * lanes), here, after))

    def _weights(self, packed: dict[int, Any], unit: Any, chunk: int, r: int) -> Any:
        """Load the prepared weights of a chunk; int4 as 16 times the weight."""
        tile, width = self.block.tile + r, 4 * self.lanes
        if self.spec.dtype == "int8":
            return self.intrin.prepare_w(load(self.args.values, (tile, unit, chunk), 0, width))
        if chunk % 2 == 0:
            packed[r] = T.bind(load(self.args.values, (tile, unit, chunk // 2), 0, width))
            nibbles = packed[r] << splat(T.uint8(4), width)
        else:
            nibbles = packed[r] & splat(T.uint8(0xF0), width)
        return self.intrin.prepare_w(T.reinterpret(self.intrin.bytes_type, nibbles))

    def _chunk(self, r: int, weight: Any, xs: list[Any]) -> None:
        for m, x in enumerate(xs):
            self._set(self.sums, m, r, self.intrin.dot(self._get(self.sums, m, r), weight, x))
        if self.intrin.corrected:
            at = ramp(r * self.lanes, self.lanes)
            shifted = self.intrin.correction(self.shift_sums[at], weight)
            T.buffer_store(self.shift_sums, shifted, [at])

    def _clear(self) -> None:
        zero = splat(T.int32(0), self.lanes)
        for m, r in self.block.pairs():
            self._set(self.sums, m, r, zero)
        if self.intrin.corrected:
            for r in range(self.block.tiles):
                T.buffer_store(self.shift_sums, zero, [ramp(r * self.lanes, self.lanes)])

    def _flush(self, scale: Any) -> None:
        """Scale the sums of a finished scale group into the float accumulators."""
        fold = 1 / 16 if self.spec.dtype == "int4" else 1.0
        x_scales = [
            T.bind(self.args.x_scales[self.block.token + m, scale] * T.float32(fold))
            for m in range(self.block.tokens)
        ]
        for r in range(self.block.tiles):
            values = load(self.args.scales, (self.block.tile + r, scale), 0, self.lanes)
            row_scales = T.bind(to_float(values, self.lanes))
            for m in range(self.block.tokens):
                sums = self._get(self.sums, m, r)
                if self.intrin.corrected:
                    sums = sums - self.shift_sums[ramp(r * self.lanes, self.lanes)]
                scaled = row_scales * splat(x_scales[m], self.lanes)
                total = self._get(self.acc, m, r) + to_float(sums, self.lanes) * scaled
                self._set(self.acc, m, r, total)
