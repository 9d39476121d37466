"""Which machine this is, and the folder that its results belong in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

# Ranges of models, first and last, by family, as in Linux's arch/x86/kernel/cpu/amd.c.
_AMD = {
    0x17: [(0x00, 0x2F, "zen1"), (0x30, 0x7F, "zen2")],
    0x19: [(0x00, 0x0F, "zen3"), (0x10, 0x1F, "zen4"), (0x20, 0x5F, "zen3"), (0x60, 0xAF, "zen4")],
    0x1A: [(0x00, 0x7F, "zen5")],
}
# Models of family 6, as in Linux's arch/x86/include/asm/intel-family.h.
_INTEL = {
    0x55: "skylake-sp", 0x6A: "ice-lake-sp", 0x6C: "ice-lake-sp", 0x8F: "sapphire-rapids",
    0xCF: "emerald-rapids", 0xAD: "granite-rapids", 0x97: "alder-lake", 0x9A: "alder-lake",
    0xB7: "raptor-lake", 0xAA: "meteor-lake",
}  # fmt: skip
_ARM = {0xD0C: "neoverse-n1", 0xD40: "neoverse-v1", 0xD49: "neoverse-n2", 0xD4F: "neoverse-v2"}
_LINES = ("epyc", "ryzen", "threadripper", "xeon", "core", "graviton", "ampere")


def microarchitecture(cpuinfo: str) -> str:
    """Name the microarchitecture of the first CPU that /proc/cpuinfo describes.

    Parameters
    ----------
    cpuinfo : str
        Content of /proc/cpuinfo.

    Returns
    -------
    str
        For example ``"zen5"`` or ``"sapphire-rapids"``; of a CPU that is not in the tables,
        ``"family6-model23"``, and ``"unknown"`` where there is no such field.
    """
    fields = _fields(cpuinfo)
    if part := fields.get("CPU part"):
        return _ARM.get(int(part, 16), f"part{part}")
    if "cpu family" not in fields:
        return "unknown"
    family, model = int(fields["cpu family"]), int(fields["model"])
    if fields.get("vendor_id") == "AuthenticAMD":
        for first, last, name in _AMD.get(family, []):
            if first <= model <= last:
                return name
    if fields.get("vendor_id") == "GenuineIntel" and family == 6 and model in _INTEL:
        return _INTEL[model]
    return f"family{family}-model{model}"


def machine_name(cpuinfo: str) -> str:
    """Name a machine as results folders do: product line and microarchitecture, ``epyc-zen5``."""
    name = _fields(cpuinfo).get("model name", "").lower()
    line = next((line for line in _LINES if line in name), "cpu")
    return f"{line}-{microarchitecture(cpuinfo)}"


def this_machine() -> str:
    """Return the `machine_name` of this machine."""
    return machine_name(Path("/proc/cpuinfo").read_text("utf-8"))


def results_folder(machine: str | None = None) -> Path:
    """Return this month's results folder of a machine [this one], ``results/2026-11-epyc-zen5``."""
    return RESULTS / f"{datetime.now(UTC):%Y-%m}-{machine or this_machine()}"


def _fields(cpuinfo: str) -> dict[str, str]:
    first = cpuinfo.split("\n\n", 1)[0]
    return dict(re.findall(r"^([^\t:]+?)[ \t]*:[ \t]*(.*?)[ \t]*$", first, re.M))
