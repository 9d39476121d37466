"""Time the gated delta rule by itself at a published shape: a prompt of 512 tokens, by one thread.

    python -m tools.time_delta_rule --isa avx2

Compares (tokens of a chunk)x(vectors of a task), interleaved: medians of the thread's CPU time, in
which other programs count little.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import thread_time
from typing import Any

import numpy as np

from schedules.delta_rule import DeltaRule
from schedules.intrin import intrinsics_of
from tools.time_ssd_scan import REPEATS, TARGETS, TOKENS, compiled
from tvm_c4n._tvm import tvm
from tvm_c4n.ops.isa import isa_named
from tvm_c4n.ops.spec import DeltaSpec

# Qwen3.5 0.8B and 2B: 16 heads of values and of keys, of 128 channels.
SPEC = DeltaSpec(True, 16, 128, 16, 128, 1, 1e-6)
CHOICES = ((1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2))


def main() -> None:
    """Print a line: what a token takes in a layer with each choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--isa", choices=TARGETS, default="avx2")
    isa = parser.parse_args().isa
    tvm.get_global_func("runtime.config_threadpool")(1, 1)
    rules = {f"{tokens}x{vectors}": DeltaRule(tokens, vectors) for tokens, vectors in CHOICES}
    kernels = {choice: rule(SPEC, intrinsics_of(isa_named(isa))) for choice, rule in rules.items()}
    runs = compiled({name: kernel.prim_func() for name, kernel in kernels.items() if kernel}, isa)
    arguments = arguments_of(SPEC, TOKENS)
    samples: dict[str, list[float]] = {choice: [] for choice in runs}
    for _ in range(REPEATS):
        for choice, run in runs.items():
            began = thread_time()
            run(*arguments)
            samples[choice].append((thread_time() - began) / TOKENS)
    found = (f"{choice} {median(took) * 1e6:.1f}" for choice, took in samples.items())
    print("us per token:", ", ".join(found))


def arguments_of(spec: DeltaSpec, tokens: int) -> list[Any]:
    """Make random arguments."""
    rng = np.random.default_rng(0)
    widths = (2 * spec.keys + spec.inner, spec.heads, spec.heads)
    shapes = [*((tokens, width) for width in widths), (spec.heads,), (spec.heads,)]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    arrays[3] = -np.exp(arrays[3])
    arrays.append(np.zeros((1, spec.heads, spec.key_dim, spec.head_dim), np.float32))
    out = np.zeros((tokens, spec.inner), np.float32)
    return [*map(tvm.runtime.tensor, arrays), 0, tvm.runtime.tensor(out)]


if __name__ == "__main__":
    main()
