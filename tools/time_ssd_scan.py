"""Time Mamba-2's scan by itself at published shapes: a decode step's, and one of 512 tokens.

    python tools/time_ssd_scan.py --isa avx2 --threads 2

Decode runs the scans of all layers in one launch, on states that other memory has pushed out of the
caches; GB/s count each state as read and written. Prefill compares (tokens of a chunk)x(vectors of
a task), interleaved. Medians.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from schedules.intrin import intrinsics_of
from schedules.ssd_scan import SsdScan
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.ops.isa import isa_named
from tvm_c4n.ops.spec import SsdSpec

TARGETS: dict[str, dict[str, Any]] = {
    "avx512": {"kind": "llvm", "mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]},
    "avx2": {"kind": "llvm", "mcpu": "x86-64-v3"},
}
# Heads, channels of a head, states and layers.
MODELS = {
    "mamba2-130m": (24, 64, 128, 24),
    "granite-4.0-h-350m": (48, 32, 128, 28),
    "falcon-h1-0.5b": (24, 64, 128, 36),
}
TOKENS, REPEATS = 512, 15
CHOICES = ((1, 2), (1, 4), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1))
CACHE_BYTES = 2**27


def main() -> None:
    """Print a line for each model, state and number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--isa", choices=TARGETS, default="avx2")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    for threads in args.threads:
        tvm.get_global_func("runtime.config_threadpool")(1, threads)
        for name in MODELS:
            for half in (False, True):
                label = f"{name} {'float16' if half else 'float32'} {threads} threads"
                print(label, "decode:", decode(name, half, args.isa))
            print(name, threads, "threads, us per token of prefill:", prefill(name, args.isa))


def decode(name: str, half: bool, isa: str) -> str:
    """Time the scans of a step; returns what a layer takes."""
    heads, head_dim, state, layers = MODELS[name]
    # All layers as one with as many groups: one launch, as in a step.
    spec = SsdSpec(False, heads * layers, head_dim, state, 1, groups=layers, half=half)
    kernel = SsdScan()(spec, intrinsics_of(isa_named(isa)))
    assert kernel is not None  # noqa: S101 - the rule applies
    run = compiled({"step": kernel.prim_func()}, isa)["step"]
    arguments = arguments_of(spec, 1)
    others = np.zeros(CACHE_BYTES, np.uint8)
    samples = []
    for _ in range(REPEATS):
        others += 1
        samples.append(seconds(run, arguments) / layers)
    size = 2 * heads * head_dim * state * (2 if half else 4)
    return f"{median(samples) * 1e6:.1f} us, {size / median(samples) / 1e9:.1f} GB/s"


def prefill(name: str, isa: str) -> str:
    """Time a prompt with each choice; returns what a token takes in a layer."""
    heads, head_dim, state, _ = MODELS[name]
    spec, intrin = SsdSpec(True, heads, head_dim, state, 1), intrinsics_of(isa_named(isa))
    fitting = [c for c in CHOICES if head_dim % (c[1] * intrin.lanes) == 0]
    rules = {f"{tokens}x{vectors}": SsdScan(tokens, vectors) for tokens, vectors in fitting}
    kernels = {choice: rule(spec, intrin) for choice, rule in rules.items()}
    funcs = {choice: kernel.prim_func() for choice, kernel in kernels.items() if kernel}
    runs, arguments = compiled(funcs, isa), arguments_of(spec, TOKENS)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for choice, run in runs.items():
            samples[choice].append(seconds(run, arguments) / TOKENS)
    return ", ".join(f"{choice} {median(took) * 1e6:.2f}" for choice, took in samples.items())


def compiled(funcs: dict[str, Any], isa: str) -> dict[str, Any]:
    """Compile PrimFuncs by name."""
    named = {
        f"f{name}": func.with_attr("global_symbol", f"f{name}") for name, func in funcs.items()
    }
    library = tvm.compile(IRModule(named), Target(TARGETS[isa]))
    return {name: library[f"f{name}"] for name in funcs}


def arguments_of(spec: SsdSpec, tokens: int) -> list[Any]:
    """Make arguments whose states neither grow nor vanish."""
    rng = np.random.default_rng(0)
    widths = (spec.inner, spec.bc_width, 2 * spec.inner, spec.bc_width + spec.heads)
    shapes = [*((tokens, width) for width in widths), *[(spec.heads,)] * 3]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    arrays[4] = -np.exp(arrays[4])
    state = np.full((1, spec.heads, spec.state, spec.head_dim), 0.25, np.float16)
    arrays.append(state.view(np.uint16) if spec.half else state.astype(np.float32))
    out = np.zeros((tokens, spec.inner), np.float32)
    return [*map(tvm.runtime.tensor, arrays), 0, tvm.runtime.tensor(out)]


def seconds(run: Any, arguments: list[Any]) -> float:
    """Time one call."""
    began = perf_counter()
    run(*arguments)
    return perf_counter() - began


if __name__ == "__main__":
    main()
