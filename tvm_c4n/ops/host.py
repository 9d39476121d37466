"""CPU features of this machine under LLVM's names, and the target that they make."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

# Where Linux and LLVM use other words.
_LLVM_NAMES = {
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fullfp16",
    "avx512_vnni": "avx512vnni",
    "avx_vnni": "avxvnni",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
}
_KEYS = ("flags", "Features")

# Levels of the x86-64 psABI with what they need, best first.
_X86_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"}),
    ("x86-64-v3", {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"}),
    ("x86-64-v2", {"sse4.2", "ssse3", "popcnt"}),
)

# What every CPU of a kind has.
_ALWAYS = {"aarch64": {"neon"}}


def host_features() -> frozenset[str]:
    """Read the features that the operating system offers.

    LLVM's own detection goes by the CPU's model number, which virtual machines may show for a CPU
    whose features they hide; code for the model would crash there.

    Returns
    -------
    frozenset of str
        Empty where the system does not say (no /proc/cpuinfo).
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    found = next((line for line in lines if line.split(":")[0].strip() in _KEYS), "")
    flags = found.partition(":")[2].split()
    return frozenset(_LLVM_NAMES.get(flag, flag) for flag in flags)


def host_description() -> dict[str, Any]:
    """Describe this machine's CPU by what it can do, not by its name.

    Virtual machines report CPU names whose features they hide; code for the name would crash
    (docs/decisions/host-target-by-features.md).
    """
    from tvm_c4n._tvm import system_triple  # the compiler; what runs models does without

    return {"kind": "llvm", "mtriple": system_triple(), **host_cpu()}


def target_features() -> frozenset[str]:
    """Return the features, of those that kernels need, that the target of this machine has."""
    target = host_cpu()
    level = dict(_X86_LEVELS).get(target.get("mcpu", ""), set())
    asked = {name.removeprefix("+") for name in target.get("mattr", ())}
    return frozenset(level | asked | _ALWAYS.get(host_machine(), set()))


def host_machine() -> str:
    """Return the kind of machine, as triples begin with it."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def host_cpu() -> dict[str, Any]:
    """Return what the target of this machine says of the CPU."""
    machine, features = platform.machine(), host_features()
    description: dict[str, Any] = {}
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
