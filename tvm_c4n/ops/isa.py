"""The instruction sets that kernels are written for, and which one a target has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvm_c4n.ops.host import target_features

if TYPE_CHECKING:
    from tvm_c4n._tvm import Target


@dataclass(frozen=True)
class Isa:
    """An instruction set family.

    Attributes
    ----------
    name : str
        ``"avx512"``, ``"avx2"``, ``"neon-i8mm"``, ``"neon"``, ``"portable"`` or ``"opencl"``.
    lanes : int
        32-bit lanes of a vector register: a panel of repacked weights has one row per lane. On a
        GPU the work-items of a group.
    needs : tuple of str
        LLVM's names of the CPU features that its kernels use.
    """

    name: str
    lanes: int
    needs: tuple[str, ...]


AVX512 = Isa("avx512", 16, ("avx512f", "avx512bw", "avx512vl", "avx512vnni"))
AVX2 = Isa("avx2", 8, ("avx2", "fma", "f16c"))
NEON = Isa("neon", 4, ("neon", "dotprod"))
NEON_I8MM = Isa("neon-i8mm", 4, (*NEON.needs, "i8mm"))
PORTABLE = Isa("portable", 4, ())
OPENCL = Isa("opencl", 64, ())

# The families of CPUs, best first: the first whose needs a target meets is used.
FAMILIES = (AVX512, AVX2, NEON_I8MM, NEON, PORTABLE)


def isa_of(target: Target) -> Isa:
    """Return the best instruction set family that a target's CPU has.

    Parameters
    ----------
    target : tvm.target.Target
        For an ``llvm`` target ``mtriple``, ``mcpu`` and ``mattr`` decide.
    """
    if target.kind.name == "opencl":
        return OPENCL
    if target.kind.name != "llvm":
        return PORTABLE
    from tvm_c4n._tvm import cpu_features  # the compiler; who asks for this machine's does without

    features = cpu_features(target)
    return next(isa for isa in FAMILIES if features.issuperset(isa.needs))


def host_isa() -> Isa:
    """Return the instruction set family of this machine, without the compiler."""
    return next(isa for isa in FAMILIES if target_features().issuperset(isa.needs))


def isa_named(name: str) -> Isa:
    """Return the instruction set family of a CPU by its name."""
    return next(isa for isa in FAMILIES if isa.name == name)
