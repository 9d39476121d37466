"""The CPU of the machine that compiles, where kernels are built for itself."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

_FAMILY = re.compile(r"^vendor_id\s*: (\w+)\ncpu family\s*: (\d+)$", re.MULTILINE)


class Core(Enum):
    """Cores with AVX-512 that prefetching was measured on.

    docs/decisions/prefetching.md and non-temporal-prefetch.md have the figures.
    """

    ZEN4 = "Zen 4"
    ZEN5 = "Zen 5"
    GOLDEN_COVE = "Golden Cove"


def measured_core() -> Core | None:
    """Return this machine's core; None for others, or where the system does not say."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    found, words = _FAMILY.search(cpu), set(cpu.split())
    family = found.groups() if found else None
    # Zen 3 is of Zen 4's family, without AVX-512.
    if family == ("AuthenticAMD", "25") and "avx512f" in words:
        return Core.ZEN4
    if family == ("AuthenticAMD", "26"):
        return Core.ZEN5
    # By its matrices: hypervisors give it models of other cores. The next one has float16, too.
    if family == ("GenuineIntel", "6") and "amx_int8" in words and "amx_fp16" not in words:
        return Core.GOLDEN_COVE
    return None


def l3_bytes() -> int | None:
    """Return the bytes of the L3 of the first core; None where the system does not say."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
    except OSError:
        return None
    return int(size.strip().removesuffix("K")) << 10 if size.strip().endswith("K") else None
