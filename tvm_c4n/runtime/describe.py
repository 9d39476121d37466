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
    """Name this machine's CPU as its maker does: several generations may have one name."""
    fields = _cpu_fields()
    for key in ("model name", "Hardware", "Processor"):
        for name, value in fields:
            if name == key:
                return value
    return platform.processor() or platform.machine()


def cpu_model() -> str:
    """Say which CPU this machine's is: ``family 25 model 17 stepping 1``.

    Of Arm each kind of core, by what its registers say: ``implementer 0x41 variant 0x3 part 0xd0c
    revision 1``. Empty where the system does not say.
    """
    cores: dict[str, None] = {}
    core: list[str] = []
    for name, value in _cpu_fields():
        if name == "processor":
            core = []
        if word := _MODEL_WORDS.get(name):
            core.append(f"{word} {value}")
        if name in ("stepping", "CPU revision"):  # the last of a core's
            cores[" ".join(core)] = None
    return ", ".join(cores)


# What tells CPUs of one name apart, by what Linux calls it, in its order.
_MODEL_WORDS = {
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "CPU implementer": "implementer",
    "CPU variant": "variant",
    "CPU part": "part",
    "CPU revision": "revision",
}


def _cpu_fields() -> list[tuple[str, str]]:
    """Return what Linux says of the CPUs, in order; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(name.strip(), value.strip()) for name, _, value in pairs]
