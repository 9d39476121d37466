"""Say in a few words what an artifact and a machine are."""

from __future__ import annotations

import platform
from math import prod
from pathlib import Path

from tvm_c4n.model.families import describe_model
from tvm_c4n.runtime.manifest import Manifest
from tvm_c4n.sparsity import removed_of_each


def model_type(manifest: Manifest) -> str:
    """Say what a model is in a few words: ``mamba 18.6M C4n n=2 int8``.

    Where pruned kinds of projections have several values of n, their range: ``n=0..3``.
    """
    pruned = {n for found in removed_by_kind(manifest).values() if max(found) for n in found}
    low, high = min(pruned, default=0), max(pruned, default=0)
    pattern = f"C4n n={low}..{high}" if low < high else f"C4n n={high}" if high else "dense"
    family = describe_model(manifest.config).model_type
    return f"{family} {parameters(manifest) / 1e6:.1f}M {pattern} {main_dtype(manifest)}"


def parameters(manifest: Manifest) -> int:
    """Count the parameters of the dense model."""
    shapes = describe_model(manifest.config).tensor_shapes().values()
    return sum(prod(shape) for shape in shapes)


def removed_by_kind(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Return the values of n that occur, ascending, per kind of projection."""
    found: dict[str, set[int]] = {}
    kinds = describe_model(manifest.config).kinds()
    for name, projection in manifest.projections.items():
        found.setdefault(kinds[name], set()).update(removed_of_each(projection.removed, 1))
    return {kind: tuple(sorted(values)) for kind, values in found.items()}


def main_dtype(manifest: Manifest) -> str:
    """Return the dtype of most weights of the layers."""
    counted: dict[str, int] = {}
    unpruned = describe_model(manifest.config).unpruned()
    for name, projection in manifest.projections.items():
        if name not in unpruned:
            size = projection.rows * projection.cols
            counted[projection.dtype] = counted.get(projection.dtype, 0) + size
    return max(counted, key=lambda dtype: counted[dtype])


def schedule_report(manifest: Manifest) -> str:
    """Count kernels: ``6 tuned, 10 by default rule, 1 fallback``.

    A fallback is the plain definition of an operator, where no rule applies.
    """
    names = list(manifest.schedules.values())
    fallback = names.count("definition")
    tuned = sum("[" in name for name in names)
    rest = len(names) - fallback - tuned
    return f"{tuned} tuned, {rest} by default rule, {fallback} fallback"


def cpu_name() -> str:
    """Name this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for key in ("model name", "Hardware", "Processor"):
        for line in lines:
            if line.split(":")[0].strip() == key:
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
