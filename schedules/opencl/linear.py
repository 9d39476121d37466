"""C4n weights times tokens: a work-item for each row, a group for each tile of packed rows.

The packed form (`tvm_c4n.ops.repack`) has the rows of a tile side by side, so that the items of a
group read consecutive words. Each item unpacks its own words: four weights and four positions from
eight bytes, without a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schedules.opencl.grid import grid, half_to_float, private
from tvm_c4n._tvm import T
from tvm_c4n.ops.c4n_linear import LinearArgs, declare
from tvm_c4n.ops.repack import CODES, COLUMNS, UNIT, WINDOW, chunks_of, layout_of, words_of
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.ops.tir import Kernel, ramp, tokens_of

_WORDS = {1: "uint8", 2: "uint16", 4: "uint32"}


def linear(spec: LinearSpec) -> Kernel:
    """Return the kernel of an operator whose weights are packed for `GROUP` lanes."""
    layout = layout_of(spec)

    def body() -> None:
        tokens = tokens_of(spec)
        args = declare(spec, tokens)
        with grid(layout.blocks * layout.tiles, tokens) as (tile, token, lane):
            row = _Row(spec, args, tile, token, lane)
            row.emit()

    return Kernel(spec, "opencl_linear", body)


@dataclass
class _Row:
    """The code of one work-item: row `tile * lanes + lane` times a token."""

    spec: LinearSpec
    args: LinearArgs
    tile: Any
    token: Any
    lane: Any

    def emit(self) -> None:
        spec, args = self.spec, self.args
        self.layout = layout_of(spec)
        self.total = private(1)
        T.buffer_store(self.total, T.float32(0), [0])
        if spec.integer:
            self.sum = private(1, "int32")
            with T.serial(self.layout.records) as record:
                for unit in range(self.layout.units):
                    self._unit(record, unit)
        elif spec.weight_only:
            self._weight_only()
        elif spec.removed:
            self._sparse_float()
        else:
            self._dense_float()
        row = self.tile * spec.lanes + self.lane
        with T.If(row < spec.rows), T.Then():
            value = self.total[0]
            if spec.bias:
                value = value + args.bias[row]
            if spec.residual:
                value = value + args.residual[self.token, row]
            T.buffer_store(args.out, value, [self.token, row])

    def _read(self, record: Any, part: int, index: Any, size: int) -> Any:
        """Return an element of this row as uint32: number `index` of a part of a record.

        `part` is 0 for positions, 1 for values, 2 for scales; `size` is in bytes.
        """
        layout = self.layout
        block, tile = self.tile // layout.tiles, self.tile % layout.tiles
        place = layout.place(part, index, tile, size) + self.lane * size
        found = T.reinterpret(_WORDS[size], self.args.weights[0][block, record, ramp(place, size)])
        return T.bind(T.cast(found, "uint32"))

    def _add(self, product: Any) -> None:
        T.buffer_store(self.total, self.total[0] + product, [0])

    def _column(self, word: Any, shift: int, k: int) -> Any:
        """Return the place in its group of the k-th kept weight, whose code is at `shift`."""
        code = T.cast((word >> T.uint32(shift)) & T.uint32(3), "int32")
        if self.spec.removed != 1:
            return code
        return T.Select(code > T.int32(k), T.int32(k), T.int32(k + 1))

    # Float weights.

    def _float(self, record: Any, index: Any) -> Any:
        if self.spec.dtype == "float32":
            return T.reinterpret("float32", self._read(record, 1, index, 4))
        return half_to_float(self._read(record, 1, index, 2))

    def _dense_float(self) -> None:
        with T.serial(self.spec.cols) as column:
            weight = self._float(column // COLUMNS, column % COLUMNS)
            self._add(weight * self.args.x[self.token, column])

    def _sparse_float(self) -> None:
        per_group, groups = CODES[self.spec.removed], self.spec.cols // 4
        per_word = 16 // per_group
        whole, rest = divmod(groups, per_word)
        if whole:
            with T.serial(whole) as record:
                self._float_groups(record, per_word)
        if rest:
            self._float_groups(whole, rest)

    def _float_groups(self, record: Any, count: int) -> None:
        """Multiply the first `count` groups whose codes the position word of a record holds."""
        per_group, kept = CODES[self.spec.removed], self.spec.kept
        word = self._read(record, 0, 0, 4)
        for group in range(count):
            first = (record * (16 // per_group) + group) * 4
            for k in range(kept):
                code = group * per_group + (0 if self.spec.removed == 1 else k)
                column = first + self._column(word, 2 * code, k)
                weight = self._float(record, group * kept + k)
                self._add(weight * self.args.x[self.token, column])

    def _weight_only(self) -> None:
        """Multiply int8 weights by floats; a record has one scale."""
        span, part = self.layout.span, private(1)
        with T.serial(self.layout.records) as record:
            T.buffer_store(part, T.float32(0), [0])
            with T.serial(T.min(span, self.spec.cols - record * span)) as index:
                weight = _signed(self._read(record, 1, index, 1), 0, 8)
                x = self.args.x[self.token, record * span + index]
                T.buffer_store(part, part[0] + T.cast(weight, "float32") * x, [0])
            self._add(part[0] * half_to_float(self._read(record, 2, 0, 2)))

    # Integer weights and activations: sums of a scale group are whole numbers.

    def _unit(self, record: Any, unit: int) -> None:
        """Multiply 64 columns."""
        spec, removed = self.spec, self.spec.removed
        count = words_of(removed)
        words = [self._read(record, 0, unit * count + w, 4) for w in range(count)]
        for window in range(UNIT // WINDOW):
            column = unit * UNIT + window * WINDOW
            if column % spec.scale_group == 0:
                T.buffer_store(self.sum, T.int32(0), [0])
            for k in range(spec.kept):
                self._chunk(record, (unit, window, k), words)
            if (column + WINDOW) % spec.scale_group == 0:
                self._flush(record, column // spec.scale_group)

    def _chunk(self, record: Any, place: tuple[int, int, int], words: list[Any]) -> None:
        """Multiply four weights: dense, those of a quad; else the k-th of each of four groups."""
        spec, removed, (unit, window, k) = self.spec, self.spec.removed, place
        chunk = window * (chunks_of(removed) // 4) + k
        index = unit * chunks_of(removed) + chunk
        start = record * self.layout.span + unit * UNIT + window * WINDOW
        if spec.dtype == "int8":
            weights = self._read(record, 1, index, 4)
        else:
            weights = self._read(record, 1, index // 2, 4) >> T.uint32(4 * (index % 2))
        field = window if removed == 1 else window * spec.kept + k
        for byte in range(4):
            weight = _signed(weights, byte, 8 if spec.dtype == "int8" else 4)
            if removed == 0:
                column = start + 4 * k + byte
            else:
                shift = 8 * byte + 2 * (field % 4)
                column = start + 4 * byte + self._column(words[field // 4], shift, k)
            product = weight * T.cast(self.args.x[self.token, column], "int32")
            T.buffer_store(self.sum, self.sum[0] + product, [0])

    def _flush(self, record: Any, index: int) -> None:
        """Scale the sum of a record's scale group `index` into the result."""
        group = record * (self.layout.span // self.spec.scale_group) + index
        scale = (
            half_to_float(self._read(record, 2, index, 2)) * self.args.x_scales[self.token, group]
        )
        self._add(T.cast(self.sum[0], "float32") * scale)


def _signed(word: Any, byte: int, bits: int) -> Any:
    """Return the lowest `bits` of a byte of a word as signed int32."""
    left = T.reinterpret("int32", word << T.uint32(32 - bits - 8 * byte))
    return left >> T.int32(32 - bits)
