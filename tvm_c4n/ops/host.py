"""The CPU features of this machine, under LLVM's names."""

from __future__ import annotations

from pathlib import Path

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
