"""The CPU of the machine that compiles, where kernels are built for itself."""

from __future__ import annotations

import re
from pathlib import Path

# Generations of AMD's cores that prefetching was measured on, with AVX-512:
# docs/decisions/prefetching.md and non-temporal-prefetch.md have the figures.
ZEN4, ZEN5 = 4, 5
_FAMILY = re.compile(r"^vendor_id\s*: AuthenticAMD\ncpu family\s*: (\d+)$", re.MULTILINE)


def zen_generation() -> int | None:
    """Return `ZEN4` or `ZEN5`; None for other CPUs, or where the system does not say."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    family = _FAMILY.search(cpu)
    # Zen 3 is of Zen 4's family, without AVX-512.
    known = {"25": ZEN4 if "avx512f" in cpu else None, "26": ZEN5}
    return None if family is None else known.get(family[1])


def l3_bytes() -> int | None:
    """Return the bytes of the L3 of the first core; None where the system does not say."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
    except OSError:
        return None
    return int(size.strip().removesuffix("K")) << 10 if size.strip().endswith("K") else None
