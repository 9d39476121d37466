"""Tags of TVM's targets: laptops with AVX2, cores of phones.

``tvm.target.Target("c4n/cortex-x4")`` is one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# LLVM schedules for this core, which does not reorder, whatever the code will run on: that keeps
# registers off the stack (docs/decisions/arm-inner-loops.md). Every phone with the dot product,
# since 2018, has its instructions.
ARM_CPU: dict[str, Any] = {"mcpu": "cortex-a55", "mattr": ["+dotprod", "+fullfp16"]}
ARM_CPU_2021 = {**ARM_CPU, "mattr": [*ARM_CPU["mattr"], "+i8mm", "+bf16"]}

# By core what code for it may use: a few cores, for TVM takes 0.2 ms to register one. SVE is left
# out: phones have vectors of 128 bits with it, too.
_CORES = {
    "cortex-a55": ARM_CPU,
    "cortex-a78": ARM_CPU,
    "cortex-a510": ARM_CPU_2021,
    "cortex-a720": ARM_CPU_2021,
    "oryon-1": ARM_CPU_2021,
    "cortex-x4": ARM_CPU_2021,
}
_ANDROID = {"kind": "llvm", "keys": ["arm_cpu", "cpu"], "mtriple": "aarch64-linux-android"}
# AVX2 without AVX-512, which most laptops have.
_LAPTOP = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"}
TAGS: dict[str, dict[str, Any]] = {
    "c4n/x86-64-v3": _LAPTOP,
    **{f"c4n/{core}": {**_ANDROID, "model": core, **cpu} for core, cpu in _CORES.items()},
}


def register_tags() -> None:
    """Tell TVM of `TAGS`."""
    register = import_module("tvm.target").register_tag
    for name, target in TAGS.items():
        register(name, target, override=True)
