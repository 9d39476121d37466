"""How fast a GEMV or GEMM is by itself, one thread: in the second cache, or from main memory.

In the cache nothing waits for memory: this is the bound that the instructions set. Bursts are
shorter than the scheduler's slices, and the best of many count, so that busy neighbours hardly
matter; they would spoil every other measurement here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from time import perf_counter_ns
from typing import Any

import numpy as np

import schedules
from benchmarks.report import Line, markdown
from benchmarks.shapes import Format, random_weight
from tvm_c4n._tvm import IRModule, tvm
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.runtime import huge_pages

CALLS = 4
"""In a burst of a GEMV; of a GEMM, one."""


@dataclass(frozen=True)
class Shape:
    """Rows and columns of the weights, and tokens that they are multiplied by.

    `mib` is how much memory copies of the weights fill, one after the other: 0 for one copy, which
    stays in the cache, more than the last cache for main memory.
    """

    rows: int
    cols: int
    tokens: int
    mib: int = 0


def measure(form: Format, shape: Shape, secs: float) -> dict[str, Any]:
    """Take bursts for some seconds.

    Returns
    -------
    dict
        ``weight_bytes``; by percentile of the bursts, nanoseconds a call; their count.
    """
    target = resolve_target("host")
    isa = isa_of(target)
    rng = np.random.default_rng(0)
    weight = random_weight(rng, (shape.rows, shape.cols), form.dtype, form.removed)
    spec = LinearSpec(
        dynamic=shape.tokens > 1,
        rows=shape.rows,
        cols=shape.cols,
        removed=form.removed,
        dtype=weight.dtype,
        scale_group=weight.scale_group,
        lanes=isa.lanes,
        input_width=shape.cols,
        bias=False,
        residual=False,
    )
    chosen = schedules.choose(spec, isa)
    assert chosen is not None  # noqa: S101 - the GEMV rule takes every such operator
    kernel = chosen[1].prim_func().with_attr("global_symbol", "burst")
    function = tvm.compile(IRModule({"burst": kernel}), target)["burst"]
    packed = repack(weight, spec)
    out = np.zeros((shape.tokens, shape.rows), np.float32)
    copies = _copies(packed, max(1, (shape.mib << 20) // packed.nbytes))
    before = [tvm.runtime.tensor(array) for array in _activations(rng, spec, shape.tokens)]
    arguments = [(*before, copy, tvm.runtime.tensor(out)) for copy in copies]
    tvm.get_global_func("runtime.config_threadpool")(0, 1)
    calls = CALLS if shape.tokens == 1 and not shape.mib else 1
    turns = cycle(arguments)
    samples: list[float] = []
    end = perf_counter_ns() + secs * 1e9
    while perf_counter_ns() < end:
        began = perf_counter_ns()
        for _ in range(calls):
            function(*next(turns))
        samples.append((perf_counter_ns() - began) / calls)
    spread = {str(p): round(float(np.percentile(samples, p)), 1) for p in (0, 1, 5, 25, 50)}
    return {"weight_bytes": packed.nbytes, "bursts": len(samples), "ns": spread}


def _copies(packed: np.ndarray[Any, Any], count: int) -> list[Any]:
    """Return tensors of the weights, in one block of huge pages."""
    block = huge_pages.allocate(count * packed.nbytes).reshape(count, *packed.shape)
    block[...] = packed
    return [tvm.runtime.from_dlpack(copy) for copy in block]


def _activations(
    rng: np.random.Generator, spec: LinearSpec, tokens: int
) -> list[np.ndarray[Any, Any]]:
    if not spec.integer:
        return [rng.standard_normal((tokens, spec.cols), np.float32)]
    width = padded_cols(spec)
    scales = np.ones((tokens, width // spec.scale_group), np.float32)
    return [rng.integers(-127, 128, (tokens, width), np.int8), scales]


def table(lines: list[Line]) -> str:
    """Lay out for each form the best burst, and the first percentile beside it."""
    rows = []
    label = ""
    for line in lines:
        if line["type"] == "run":
            label = f"{line['cpu']}, compiler {line['compiler'][:6]}"
        if line["type"] == "burst":
            size = f"{line['rows']}x{line['cols']}"
            read = [f"{line['weight_bytes'] / line['ns'][p]:.1f}" for p in ("0", "5")]
            work = line["rows"] * line["cols"] * line["tokens"] / line["ns"]["0"]
            what = [line["form"], size, str(line["tokens"]), str(line.get("mib", 0) or "cache")]
            rows.append([label, *what, str(line["bursts"]), *read, f"{work:.1f}"])
    head = ["measured on", "form", "shape", "tokens", "MiB", "bursts", "best GB/s", "5 % GB/s"]
    return markdown([*head, "dense weights x tokens a ns"], rows)
