"""Names of targets, and the CPU features of this machine."""

from __future__ import annotations

import platform
from typing import Any

from tvm_c4n._tvm import Target, codegen
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.host import host_features

# Every phone with the dot product, since 2018, runs code for this CPU.
ARM_CPU = {"mcpu": "cortex-a76", "mattr": ["+dotprod", "+fullfp16"]}

_ANDROID = {"kind": "llvm", "mtriple": "aarch64-linux-android", **ARM_CPU}
NAMED: dict[str, dict[str, Any]] = {
    "arm64-linux": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", **ARM_CPU},
    "arm64-android": _ANDROID,
}
# Experimental: docs/guides/opencl.md says how far it was tested.
ADRENO = {"kind": "opencl", "device": "adreno", "host": _ANDROID}

# Levels of the x86-64 psABI with what they need, best first.
_X86_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"}),
    ("x86-64-v3", {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"}),
    ("x86-64-v2", {"sse4.2", "ssse3", "popcnt"}),
)


def resolve_target(target: str | Target) -> Target:
    """Turn a name into a TVM target.

    Parameters
    ----------
    target : str or tvm.target.Target
        ``"host"``, ``"arm64-linux"``, ``"arm64-android"``, ``"adreno"``, or a target of TVM, which
        is kept.

    Raises
    ------
    TargetError
        For any other name.
    """
    if isinstance(target, Target):
        return target
    if target == "host":
        return Target(host_description())
    if target in NAMED:
        return Target(NAMED[target])
    if target == "adreno":
        return Target(ADRENO)
    known = ", ".join(["host", *NAMED, "adreno"])
    raise TargetError(f"unknown target {target!r}; known are {known}, or pass a tvm.target.Target")


def host_description() -> dict[str, Any]:
    """Describe this machine's CPU by what it can do, not by its name.

    Virtual machines report CPU names whose features they hide; code for the name would crash
    (docs/decisions/host-target-by-features.md).
    """
    triple = codegen.llvm_get_system_triple()
    machine, features = platform.machine(), host_features()
    description: dict[str, Any] = {"kind": "llvm", "mtriple": triple}
    if machine in ("x86_64", "AMD64"):
        levels = (level for level, needs in _X86_LEVELS if needs <= features)
        level = next(levels, None)
        if level is not None:
            description["mcpu"] = level
        if level == "x86-64-v4" and "avx512vnni" in features:
            description["mattr"] = ["+avx512vnni"]
    elif machine in ("aarch64", "arm64") and "dotprod" in features:
        description["mattr"] = ["+dotprod"]
    return description
