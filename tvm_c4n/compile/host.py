"""The last-level cache of the machine that compiles, where kernels are built for itself."""

from __future__ import annotations

from pathlib import Path


def victim_cache_bytes() -> int | None:
    """Return the bytes of an AMD CPU's L3; None for other CPUs, or where the system does not say.

    AMD's L3 is a victim cache: it takes what L2 evicts, but not lines of non-temporal prefetches.
    On other CPUs such prefetches were not measured. docs/decisions/non-temporal-prefetch.md has the
    figures.
    """
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        size = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
    except OSError:
        return None
    if "AuthenticAMD" not in cpu or not size.strip().endswith("K"):
        return None
    return int(size.strip().removesuffix("K")) << 10
