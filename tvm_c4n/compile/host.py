"""The last-level cache of the machine that compiles, where kernels are built for itself."""

from __future__ import annotations

import re
from pathlib import Path

# Zen 5. On a Zen 4 non-temporal prefetches lose 8 to 18 %, elsewhere nobody measured them:
# docs/decisions/non-temporal-prefetch.md has the figures.
_FAMILY = re.compile(r"^cpu family\s*: 26$", re.MULTILINE)


def bypassed_cache_bytes() -> int | None:
    """Return the bytes of an L3 that weights may gain by bypassing; None on other machines.

    AMD's L3 is a victim cache: it takes what L2 evicts, but not lines of non-temporal prefetches.
    None too where the system does not say what it has.
    """
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        size = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
    except OSError:
        return None
    measured = "AuthenticAMD" in cpu and _FAMILY.search(cpu)
    if not measured or not size.strip().endswith("K"):
        return None
    return int(size.strip().removesuffix("K")) << 10
