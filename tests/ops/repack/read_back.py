"""Reads a weight back, element by element, through its format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.ops.compiled import call_all
from tvm_c4n._tvm import T
from tvm_c4n.ops.repack import PanelFormat
from tvm_c4n.ops.spec import RmsNormSpec
from tvm_c4n.ops.tir import build, declare_or_bind
from tvm_c4n.ops.weight_format import WeightFormat
from tvm_c4n.sparsity import C4nWeight, from_dense, mask_from_scores

# Fewer rows than a panel, whole and part bundles, and columns that end inside a k-block.
SHAPES = ((1, 4), (3, 68), (21, 136), (37, 260), (256, 64))


def weight_of(shape: tuple[int, int], removed: int, dtype: str, scale_group: int = 64) -> C4nWeight:
    """A random weight, the same for the same arguments."""
    rng = np.random.default_rng([*shape, removed])
    dense = rng.normal(size=shape).astype(np.float32)
    mask = mask_from_scores(np.abs(dense), removed) if removed else None
    return from_dense(dense, removed, dtype, mask=mask, scale_group=scale_group)


def reader(fmt: WeightFormat) -> Any:
    """A PrimFunc that writes the dense weight of its arrays."""

    def body() -> None:
        weights = fmt.declare()
        out = declare_or_bind("out", (fmt.rows, fmt.cols))
        # Without removed weights, columns need not be a multiple of four.
        count = fmt.cols // 4 * fmt.kept if fmt.removed else fmt.cols
        with T.serial(fmt.rows) as row, T.serial(count) as i:
            group, k = i // fmt.kept, i % fmt.kept
            column = fmt.column(weights, row, group, k)
            value = T.cast(fmt.value(weights, row, group, k), "float32")
            if fmt.quantized:
                scale = fmt.scale(weights, row, column // fmt.scale_group)
                value = value * T.cast(scale, "float32")
            T.buffer_store(out, value, [row, column])

    return build(RmsNormSpec(False, 1, 0.0), "read_back", body)


def check(cases: Iterable[tuple[PanelFormat, C4nWeight]]) -> None:
    """Assert that repacked weights have their layout's shape and read back as they were."""
    calls, expected = {}, {}
    for number, (fmt, weight) in enumerate(cases):
        packed = fmt.repack(weight)
        assert packed.dtype == np.uint8
        assert packed.shape == fmt.layout.shape
        assert packed.flags.c_contiguous
        out = np.zeros((fmt.rows, fmt.cols), np.float32)
        calls[f"case{number}"] = reader(fmt), (packed, out)
        expected[f"case{number}"] = weight.dense()
    for name, after in call_all(calls).items():
        np.testing.assert_array_equal(after[-1], expected[name])
