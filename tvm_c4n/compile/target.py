"""Names of targets, and what TVM compiles for now."""

from __future__ import annotations

from typing import Any

from tvm_c4n._registration.tags import ARM_CPU, ARM_CPU_2021, TAGS
from tvm_c4n._tvm import Target, system_triple
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.host import host_description

_ANDROID = {"kind": "llvm", "mtriple": "aarch64-linux-android", **ARM_CPU}
NAMED: dict[str, dict[str, Any]] = {
    "arm64-linux": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", **ARM_CPU},
    "arm64-android": _ANDROID,
    "arm64-linux-i8mm": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", **ARM_CPU_2021},
}
# Experimental: docs/guides/opencl.md says how far it was tested.
ADRENO = {"kind": "opencl", "device": "adreno", "host": _ANDROID}

# Kinds of TVM's targets whose code is for a CPU.
_CPU_KINDS = ("llvm", "c")


def resolve_target(target: str | Target) -> Target:
    """Turn a name into a TVM target.

    Parameters
    ----------
    target : str or tvm.target.Target
        ``"host"``, ``"arm64-linux"``, ``"arm64-android"``, ``"arm64-linux-i8mm"``, ``"adreno"``, a
        tag of ours such as ``"c4n/cortex-x4"``, or a target of TVM, which is kept.

    Raises
    ------
    TargetError
        For any other name, and for targets that there are no kernels for: all but those of kind
        ``llvm`` and ``c``, and Adreno's.
    """
    if isinstance(target, Target):
        if target.kind.name in _CPU_KINDS or "adreno" in target.keys:
            return target
        raise TargetError(
            f"there are no kernels for targets of kind {target.kind.name!r}: give one of kind "
            "'llvm' or 'c', or 'adreno' (experimental)"
        )
    if target == "host":
        return Target(host_description())
    if target == "adreno":
        return Target(ADRENO)
    if isinstance(target, str) and target in NAMED:
        return Target(NAMED[target])
    if isinstance(target, str) and target in TAGS:
        return Target(target)
    known = ", ".join(["host", *NAMED, "adreno", f"tags such as {next(reversed(TAGS))}"])
    raise TargetError(f"unknown target {target!r}; known are {known}, or pass a tvm.target.Target")


def current_target(given: Target | None) -> Target:
    """Return the target that TVM compiles for now.

    Code for another one does not only run badly: LLVM ends the process when it meets an
    instruction that its target lacks.

    Parameters
    ----------
    given : tvm.target.Target, optional
        What the user said that it is.

    Raises
    ------
    TargetError
        There is none, it is not `given`, or there are no kernels for it.
    """
    current = Target.current()
    if current is None:
        raise TargetError(
            "TVM has no current target: relax.build(mod, target, ...), or 'with target:' around it"
        )
    if given is not None and _describe(given) != _describe(current):
        raise TargetError(
            f"the pipeline is for {_describe(given)}, TVM compiles for {_describe(current)}: "
            "give both the same target, or the pipeline none"
        )
    return resolve_target(current)


def triple_of(target: Target) -> str:
    """Return LLVM's triple of the CPU that runs a target's code, or its host's code on a GPU.

    A target that names none is this machine's, as for TVM.
    """
    cpu = target if target.kind.name in _CPU_KINDS else target.host
    if cpu is None or "mtriple" not in cpu.attrs:
        return system_triple()
    return str(cpu.attrs["mtriple"])


def is_native(target: Target) -> bool:
    """Return whether a target's CPU is of this machine's kind."""
    return triple_of(target) == system_triple()


def features_of(target: Target) -> list[str]:
    """Return the features that a target has beyond those of its CPU, sorted."""
    return sorted(str(feature).removeprefix("+") for feature in target.attrs.get("mattr", []))


def _describe(target: Target) -> str:
    """Name what decides the code that is generated for a target."""
    cpu = str(target.attrs.get("mcpu", "generic"))
    return " ".join([target.kind.name, triple_of(target), cpu, *features_of(target)])
