"""What a kernel needs of an instruction set, one file each; `intrinsics_of` chooses."""

from __future__ import annotations

from schedules.intrin.avx2 import Avx2
from schedules.intrin.avx512 import Avx512
from schedules.intrin.base import Intrinsics
from schedules.intrin.neon import Neon, NeonI8mm
from schedules.intrin.portable import Portable
from tvm_c4n.ops.isa import Isa

ALL: tuple[Intrinsics, ...] = (Avx512(), Avx2(), NeonI8mm(), Neon(), Portable())


def intrinsics_of(isa: Isa) -> Intrinsics:
    """Return the implementation for an instruction set."""
    return next(i for i in ALL if i.isa == isa)
