"""Sums of absolute differences between columns and groups, compiled for this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import declare_or_bind, f32, load, local, splat, store
from tvm_c4n.pruning.method.panels import LANES, to_panels
from tvm_c4n.torch_blocks.host_kernel import compiled

# Columns that share each read of a panel: with its two to four vectors their sums fill registers.
COLUMNS = 4


def distances(columns: Tensor, groups: Tensor) -> Tensor:
    """``sum_r |columns[i, r] - groups[j, r]|``: (m, rows), (n, rows) -> (m, n) float32."""
    padded = torch.zeros(-(-len(columns) // COLUMNS) * COLUMNS, columns.shape[1])
    padded[: len(columns)] = columns
    quads = padded.view(-1, COLUMNS, columns.shape[1]).transpose(1, 2).contiguous()
    panels = to_panels(groups)
    out = torch.empty(len(panels), len(padded), LANES)
    _kernel()(quads, panels, out)
    return out.transpose(0, 1).reshape(len(padded), -1)[: len(columns), : len(groups)]


@cache
def _kernel() -> Callable[..., None]:
    """``kernel(quads, panels, out)``: (q, rows, 4), (p, rows, 16) -> (p, 4 q, 16)."""

    def body() -> None:
        quads, panels, rows = T.int64(), T.int64(), T.int64()
        columns = declare_or_bind("columns", [quads, rows, COLUMNS])
        groups = declare_or_bind("groups", [panels, rows, LANES])
        out = declare_or_bind("out", [panels, quads * COLUMNS, LANES])
        with T.serial(panels) as p, T.serial(quads) as q:
            sums = local((COLUMNS, LANES))
            for c in range(COLUMNS):
                store(sums, (c,), 0, LANES, f32(0, LANES))
            with T.serial(rows) as r:
                group = T.bind(load(groups, (p, r), 0, LANES))
                for c in range(COLUMNS):
                    difference = T.bind(splat(columns[q, r, c], LANES) - group)
                    far = T.max(difference, f32(0, LANES) - difference)
                    store(sums, (c,), 0, LANES, load(sums, (c,), 0, LANES) + far)
            for c in range(COLUMNS):
                store(out, (p, q * COLUMNS + c), 0, LANES, load(sums, (c,), 0, LANES))

    return compiled(body)
