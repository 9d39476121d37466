"""Runs kernels on every instruction set that there is: this machine's, and ARM's under qemu."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schedules.intrin
from tests.schedules.emulated import EmulatedAvx512
from tvm_c4n._tvm import IRModule, PrimFunc, Target, tvm
from tvm_c4n.ops.host import host_features
from tvm_c4n.ops.isa import AVX2, AVX512, NEON, PORTABLE, Isa, isa_of

TARGETS: dict[str, dict[str, Any]] = {
    "avx512": {"kind": "llvm", "mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]},
    "avx2": {"kind": "llvm", "mcpu": "x86-64-v3"},
    "neon": {
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a55",
        "mattr": ["+dotprod"],
    },
    "neon-i8mm": {
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a55",
        "mattr": ["+dotprod", "+i8mm"],
    },
    "portable": {"kind": "llvm"},
}
ISAS = {isa.name: isa for isa in (AVX512, AVX2, NEON, PORTABLE)}
# What the quick tests run beside the host's best instruction set: under qemu, where models on the
# emulated phone have the other operators, and with AVX2 where there is AVX-512.
BESIDE = {
    "neon": ("test_c4n_gemv.py", "test_c4n_gemm.py", "test_selective_scan.py"),
    "avx2": ("test_c4n_gemv.py",),
}
# And dtypes that they leave out: one-token kernels have them all.
RARE = {("neon", "test_c4n_gemm.py", "int8"), ("neon", "test_c4n_gemm.py", "int3")}
# Elements before and after every output that a kernel must not touch.
GUARD = 64

Arguments = Sequence["np.ndarray[Any, Any] | int"]


class Machine:
    """Compiles PrimFuncs for one instruction set and calls them."""

    def __init__(self, isa: Isa, phone: Any, target: str | None = None):
        self.isa, self.phone = isa, phone
        self.target = Target(TARGETS[target or isa.name])

    def run(
        self, funcs: Mapping[str, PrimFunc], calls: Mapping[str, Arguments]
    ) -> dict[str, list[Any]]:
        """Call each function; returns all arguments as they are afterwards."""
        named = {n: f.with_attr("global_symbol", n) for n, f in funcs.items()}
        lib = tvm.compile(IRModule(named), self.target)
        if self.phone is not None:
            return self.phone.run(lib, calls)
        return {name: _guarded(lib[name], arguments) for name, arguments in calls.items()}


def _guarded(function: Callable[..., None], arguments: Arguments) -> list[Any]:
    """Call with every array inside a larger one whose ends must stay as they were."""
    wide = []
    for argument in arguments:
        if isinstance(argument, int):
            wide.append(None)
            continue
        block = np.full(argument.nbytes + 2 * GUARD * 4, 0xA5, np.uint8)
        wide.append(block[-block.ctypes.data % 64 :])
    inside = []
    for argument, block in zip(arguments, wide, strict=True):
        if isinstance(argument, int):
            inside.append(argument)
            continue
        view = block[GUARD : GUARD + argument.nbytes].view(argument.dtype)
        view = view.reshape(argument.shape)
        view[...] = argument
        inside.append(view)
    function(*(a if isinstance(a, int) else tvm.runtime.from_dlpack(a) for a in inside))
    for view, block in zip(inside, wide, strict=True):
        if not isinstance(view, int):
            assert (block[:GUARD] == 0xA5).all(), "a kernel wrote before its argument"
            assert (block[GUARD + view.nbytes :] == 0xA5).all(), "a kernel wrote past its argument"
    return inside


@pytest.fixture(
    params=[
        "avx512",
        "avx2",
        # Scalars take long to compile; tests/relay_passes run these kernels, too.
        pytest.param("portable", marks=pytest.mark.slow),
        pytest.param("neon", marks=pytest.mark.phone),
    ]
)
def machine(request: pytest.FixtureRequest) -> Machine:
    """One instruction set; skipped where this machine lacks it (ARM runs under qemu)."""
    isa = ISAS[request.param]
    if isa is NEON:
        return Machine(isa, request.getfixturevalue("phone"))
    if not host_features().issuperset(isa.needs):
        pytest.skip(f"this machine has no {isa.name}")
    made = Machine(isa, None)
    assert isa_of(made.target) == isa
    return made


@pytest.fixture
def spelled_out(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """AVX-512's kernels on any machine, their instructions spelled out."""
    others = [intrin for intrin in schedules.intrin.ALL if intrin.isa != AVX512]
    monkeypatch.setattr(schedules.intrin, "ALL", (EmulatedAvx512(), *others))
    return Machine(AVX512, None, "portable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    best = "avx512" if host_features().issuperset(AVX512.needs) else "avx2"
    for item in items:
        named = getattr(item, "callspec", None)
        params = {} if named is None else named.params
        machine, file = str(params.get("machine", "")), item.path.name
        if item.path.parent != Path(__file__).parent or machine in ("", best):
            continue
        rare = (machine, file, params.get("dtype")) in RARE
        if rare or file not in BESIDE.get(machine, ()):
            item.add_marker(pytest.mark.slow)
