"""The inner code of C4n linear kernels: some tokens times some row tiles.

The same code serves a decode step (one token) and prefill (several tokens share each load and each
unpacking of the weights). Accumulators are small local buffers with constant indices, which LLVM
keeps in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schedules.intrin.base import GROUP_BYTES, Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs
from tvm_c4n.ops.repack import CODES, COLUMNS, UNIT, WINDOW, chunks_of, layout_of, words_of
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import CACHE_LINE, load, local, loop, prefetch, ramp, splat, store, to_float

_BYTES = {"float32": 4, "uint32": 4, "float16": 2, "int8": 4, "uint8": 4}
"""Bytes a lane of a vector that is read; vectors of bytes have four a lane."""


@dataclass(frozen=True)
class Block:
    """`tiles` row tiles from `tile` on of packed block `block`, times `tokens` from `token` on.

    `ahead` is how many bytes before their use the weights are asked for; 0 leaves that to the CPU.
    With `non_temporal`, no cache is to keep them.
    """

    block: Any
    tile: Any
    tiles: int
    token: Any
    tokens: int
    ahead: int = 0
    non_temporal: bool = False

    def pairs(self) -> list[tuple[int, int]]:
        """All (token, tile) offsets."""
        return [(m, r) for m in range(self.tokens) for r in range(self.tiles)]


class LinearBody:
    """Emits the code of one block of a linear operator."""

    def __init__(self, intrin: Intrinsics, spec: LinearSpec, args: LinearArgs, block: Block):
        self.intrin, self.spec, self.args, self.block = intrin.of(spec), spec, args, block
        self.lanes = intrin.lanes
        self.layout = layout_of(spec)
        self.acc = local((block.tokens * block.tiles * self.lanes,))

    def emit(self) -> None:
        """Emit accumulation and the store of the result."""
        for m, r in self.block.pairs():
            self._set(self.acc, m, r, splat(T.float32(0), self.lanes))
        if self.spec.integer:
            self._integer()
        elif self.spec.weight_only:
            self._weight_only()
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
        token = self.block.token + m
        tile = self.block.block * self.layout.tiles + self.block.tile + r

        def write(first: Any, lanes: int, value: Any) -> None:
            if spec.bias:
                value = value + load(args.bias, (), first, lanes)
            if spec.residual:
                value = value + load(args.residual, (token,), first, lanes)
            store(args.out, (token,), first, lanes, value)

        if spec.rows % (self.lanes * self.layout.tiles) == 0:
            write(tile * self.lanes, self.lanes, self._get(self.acc, m, r))
            return
        whole, rest = divmod(spec.rows, self.lanes)
        with T.If(tile < whole), T.Then():
            write(tile * self.lanes, self.lanes, self._get(self.acc, m, r))
        if rest:
            with T.If(tile == whole), T.Then(), T.serial(rest) as lane:
                write(tile * self.lanes + lane, 1, self.acc[self._at(m, r) + lane])

    # The stream of weights.

    def _read(self, record: Any, part: int, index: Any, r: int, dtype: str) -> Any:
        """Read vector `index` of a tile: one element a lane, or four bytes.

        `part` is 0 for positions, 1 for values, 2 for scales.
        """
        found = self._bytes(record, part, index, r, _BYTES[dtype])
        lanes = 4 * self.lanes if dtype in ("int8", "uint8") else self.lanes
        return found if dtype == "uint8" else T.reinterpret(f"{dtype}x{lanes}", found)

    def _bytes(self, record: Any, part: int, index: Any, r: int, lane_bytes: int) -> Any:
        """Read vector `index` of a tile, `lane_bytes` bytes a lane."""
        place = self.layout.place(part, index, self.block.tile + r, lane_bytes)
        width = lane_bytes * self.lanes
        stream, block = self.args.weights[0], self.block
        # Once a cache line: vectors of a line follow each other.
        if block.ahead and (width >= CACHE_LINE or (r * width) % CACHE_LINE == 0):
            where = (block.block, record, place)
            prefetch(stream, where, block.ahead, non_temporal=block.non_temporal)
        return stream[block.block, record, ramp(place, width)]

    # Float weights: one multiply-add a kept weight.

    def _multiply_add(self, m: int, r: int, weight: Any, x: Any) -> None:
        self._set(self.acc, m, r, self._get(self.acc, m, r) + weight * x)

    def _records(self, extent: int, size: int, emit: Callable[[Any, int], None]) -> None:
        """Loop over whole records of `size`, then emit what is left of the last one."""
        if extent // size:
            with T.serial(extent // size) as record:
                emit(record, size)
        if extent % size:
            emit(extent // size, extent % size)

    def _weight(self, record: Any, r: int, index: int) -> Any:
        found = self._read(record, 1, index, r, self.spec.dtype)
        return T.bind(to_float(found, self.lanes))

    def _dense_float(self) -> None:
        def columns(record: Any, count: int) -> None:
            for k in range(count):
                for r in range(self.block.tiles):
                    weight = self._weight(record, r, k)
                    for m in range(self.block.tokens):
                        x = self.args.x[self.block.token + m, record * COLUMNS + k]
                        self._multiply_add(m, r, weight, splat(x, self.lanes))

        self._records(self.spec.cols, COLUMNS, columns)

    def _weight_only(self) -> None:
        """Sum int8 weights times floats, scaled once a record."""
        block = self.block
        self.parts = local((block.tokens * block.tiles * self.lanes,))

        def columns(record: Any, count: int) -> None:
            for m, r in block.pairs():
                self._set(self.parts, m, r, splat(T.float32(0), self.lanes))
            whole = count // COLUMNS * COLUMNS
            if whole:
                with T.serial(whole // COLUMNS) as some:
                    self._columns(record, some * COLUMNS, COLUMNS)
            self._columns(record, whole, count - whole)
            for r in range(block.tiles):
                scales = T.bind(to_float(self._read(record, 2, 0, r, "float16"), self.lanes))
                for m in range(block.tokens):
                    self._multiply_add(m, r, scales, self._get(self.parts, m, r))

        self._records(self.spec.cols, self.layout.span, columns)

    def _columns(self, record: Any, first: Any, count: int) -> None:
        """Add some columns' products to the parts."""
        for k in range(count):
            for r in range(self.block.tiles):
                found = self._bytes(record, 1, first + k, r, 1)
                weight = T.bind(to_float(T.reinterpret(f"int8x{self.lanes}", found), self.lanes))
                for m in range(self.block.tokens):
                    x = self.args.x[self.block.token + m, record * self.layout.span + first + k]
                    part = self._get(self.parts, m, r) + weight * splat(x, self.lanes)
                    self._set(self.parts, m, r, part)

    def _sparse_float(self) -> None:
        self._records(self.spec.cols // 4, 16 // CODES[self.spec.removed], self._float_word)

    def _float_word(self, record: Any, groups: int) -> None:
        """Multiply the groups whose codes one position word holds."""
        spec, block, per_group = self.spec, self.block, CODES[self.spec.removed]
        words = [T.bind(self._read(record, 0, 0, r, "uint32")) for r in range(block.tiles)]
        for g in range(groups):
            column = (record * (16 // per_group) + g) * 4
            for k in range(spec.kept):
                for r in range(block.tiles):
                    code = T.bind(self._float_code(words[r], g * per_group, k))
                    weight = self._weight(record, r, g * spec.kept + k)
                    for m in range(block.tokens):
                        x = self.intrin.pick_floats(self.args.x, block.token + m, column, code)
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

    # Integer weights: four bytes a lane at a time, sums scaled once a stretch of columns.

    def _integer(self) -> None:
        block, intrin = self.block, self.intrin
        self.sums = _Sums(intrin.sum_dtype, self.lanes, block.tokens * block.tiles)
        if intrin.corrected:
            count = block.tiles if intrin.corrected == "by weights" else block.tokens
            self.shift_sums = _Sums(intrin.shift_dtype, self.lanes, count)
        with T.serial(self.layout.records) as record:
            whole = self._stretch() > UNIT
            if whole:
                self._clear()
            # A loop, though its extent is known: spelled out, a load's next turn lay so far ahead
            # that a Zen 5 no longer fetched it by itself (docs/decisions/repacked-format.md).
            with loop(self.layout.units) as unit:
                self._unit(record, unit)
            if whole:
                self._flush(record, 0)

    def _stretch(self) -> int:
        """Columns whose integer sums fit their type, at most a scale group."""
        return min(self.spec.scale_group, self.intrin.stretch or self.spec.scale_group)

    def _unit(self, record: Any, unit: Any) -> None:
        """Multiply 64 columns; units of a record share its scale.

        The tiles take turns chunk by chunk: a record is read from front to end.
        """
        spec, tiles, stretch = self.spec, range(self.block.tiles), self._stretch()
        words = {r: self._words(record, unit, r) for r in tiles}
        packed: dict[int, Any] = {}
        for window in range(UNIT // WINDOW):
            column = window * WINDOW
            if column % stretch == 0 and stretch <= UNIT:
                self._clear()
            xs = self._activations(record * self.layout.span + unit * UNIT + column)
            for k in range(4 if spec.removed == 0 else spec.kept):
                chunk = window * (chunks_of(spec.removed) // 4) + k
                quads = xs if spec.removed else [quads[k] for quads in xs]
                for r in tiles:
                    weight = self._weights(packed, (record, unit), chunk, r)
                    index = self._index(words[r], window, k)
                    if index is not None:
                        quads = [self.intrin.pick(x, index) for x in xs]
                    self._chunk(r, weight, quads)
                if self.intrin.corrected == "by activations":
                    self._correct(dict(enumerate(quads)))
            if (column + WINDOW) % stretch == 0 and stretch <= UNIT:
                self._flush(record, column // spec.scale_group)

    def _activations(self, start: Any) -> list[Any]:
        """For each token the window, or (dense weights) its four quads."""
        tokens = [self.block.token + m for m in range(self.block.tokens)]
        if self.spec.removed:
            return [self.intrin.window(self.args.x, token, start) for token in tokens]
        return [
            [self.intrin.quad(self.args.x, token, start + 4 * k) for k in range(4)]
            for token in tokens
        ]

    def _words(self, record: Any, unit: Any, r: int) -> list[Any]:
        """Load the position words of a tile."""
        count = words_of(self.spec.removed)
        places = [unit * count + word for word in range(count)]
        return [T.bind(self._read(record, 0, place, r, "uint32")) for place in places]

    def _index(self, words: list[Any], window: int, k: int) -> Any:
        """Byte indices into the window of the k-th kept weights; None for dense weights."""
        removed, bytes_type = self.spec.removed, self.intrin.bytes_type
        if removed == 0:
            return None
        if removed != 1:
            field = window * self.spec.kept + k
            return T.bind(self.intrin.index(words[field // 4], field % 4))
        gone = T.reinterpret(bytes_type, self.intrin.codes(words[0], window))
        here, after = (
            T.reinterpret(bytes_type, splat(T.uint32(GROUP_BYTES + 0x01010101 * v), self.lanes))
            for v in (k, k + 1)
        )
        return T.bind(T.Select(gone > splat(T.int8(k), 4 * self.lanes), here, after))

    def _weights(self, packed: dict[int, Any], place: tuple[Any, Any], chunk: int, r: int) -> Any:
        """Load the prepared weights of a chunk."""
        record, unit = place
        chunks = chunks_of(self.spec.removed)
        if self.spec.dtype == "int8":
            found = self._read(record, 1, unit * chunks + chunk, r, "int8")
            return self.intrin.prepare_w(found)
        if chunk % 2 == 0:
            place_of_pair = unit * (chunks // 2) + chunk // 2
            packed[r] = T.bind(self._read(record, 1, place_of_pair, r, "uint8"))
        return self.intrin.prepare_w(self.intrin.nibbles(packed[r], chunk % 2 == 1))

    def _chunk(self, r: int, weight: Any, xs: list[Any]) -> None:
        for m, x in enumerate(xs):
            at = m * self.block.tiles + r
            self.sums[at] = self.intrin.dot(self.sums[at], weight, x)
        if self.intrin.corrected == "by weights":
            self._correct({r: weight})

    def _correct(self, operands: dict[int, Any]) -> None:
        for at, operand in operands.items():
            self.shift_sums[at] = self.intrin.correction(self.shift_sums[at], operand)

    def _clear(self) -> None:
        self.sums.clear()
        if self.intrin.corrected:
            self.shift_sums.clear()

    def _flush(self, record: Any, index: int) -> None:
        """Scale sums in a record's scale group `index` into the float accumulators."""
        scale = record * (self.layout.span // self.spec.scale_group) + index
        fold = self.intrin.fold if self.spec.dtype == "int4" else 1.0
        x_scales = [
            T.bind(self.args.x_scales[self.block.token + m, scale] * T.float32(fold))
            for m in range(self.block.tokens)
        ]
        for r in range(self.block.tiles):
            values = self._read(record, 2, index, r, "float16")
            row_scales = T.bind(to_float(values, self.lanes))
            for m in range(self.block.tokens):
                total = self.intrin.total(self.sums[m * self.block.tiles + r], self._shift(m, r))
                scaled = row_scales * splat(x_scales[m], self.lanes)
                total = self._get(self.acc, m, r) + to_float(total, self.lanes) * scaled
                self._set(self.acc, m, r, total)

    def _shift(self, m: int, r: int) -> Any:
        """Return what was added up for the correction of a token and a tile."""
        if self.intrin.corrected is None:
            return None
        return self.shift_sums[r if self.intrin.corrected == "by weights" else m]


class _Sums:
    """Vectors of integer sums in a local buffer, 32 bits for each row."""

    def __init__(self, dtype: str, lanes: int, count: int):
        self._zero = {"int8": T.int8, "int16": T.int16, "int32": T.int32}[dtype](0)
        self._lanes, self._count = lanes * 32 // int(dtype.removeprefix("int")), count
        self._buffer = local((count * self._lanes,), dtype)

    def __getitem__(self, index: int) -> Any:
        return self._buffer[ramp(index * self._lanes, self._lanes)]

    def __setitem__(self, index: int, value: Any) -> None:
        T.buffer_store(self._buffer, value, [ramp(index * self._lanes, self._lanes)])

    def clear(self) -> None:
        """Set all to zero."""
        for index in range(self._count):
            self[index] = splat(self._zero, self._lanes)
