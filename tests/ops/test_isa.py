"""Which kernels a target gets, by the features that LLVM says its CPU has."""

from __future__ import annotations

from typing import Any

import pytest

from tvm_c4n._tvm import Target
from tvm_c4n.ops import host
from tvm_c4n.ops.isa import (
    AVX2,
    AVX512,
    FAMILIES,
    NEON,
    NEON_I8MM,
    OPENCL,
    PORTABLE,
    Isa,
    host_isa,
    isa_named,
    isa_of,
)

X86, ARM = "x86_64-linux-gnu", "aarch64-linux-gnu"


@pytest.mark.parametrize(
    ("triple", "cpu", "attributes", "expected"),
    [
        (X86, "x86-64-v4", ["+avx512vnni"], AVX512),
        (X86, "x86-64-v4", [], AVX2),  # its dot product is missing
        (X86, "cascadelake", [], AVX512),
        (X86, "cascadelake", ["-avx512vl"], AVX2),
        (X86, "x86-64-v3", [], AVX2),
        (X86, "x86-64-v3", ["-f16c"], PORTABLE),
        (X86, "x86-64", [], PORTABLE),
        (ARM, "cortex-a76", [], NEON),
        (ARM, "cortex-a53", [], PORTABLE),
        (ARM, "cortex-a53", ["+dotprod"], NEON),
        (ARM, "cortex-a55", ["+i8mm"], NEON_I8MM),
        (ARM, "cortex-a510", [], NEON_I8MM),
    ],
)
def test_a_cpu_gets_the_best_family_whose_needs_it_meets(
    triple: str, cpu: str, attributes: list[str], expected: Isa
) -> None:
    fields: dict[str, Any] = {"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": attributes}
    assert isa_of(Target(fields)) == expected


def test_other_kinds_of_target() -> None:
    assert isa_of(Target({"kind": "opencl", "device": "adreno"})) == OPENCL
    assert isa_of(Target({"kind": "c"})) == PORTABLE


def test_families_are_found_by_name_and_the_last_needs_nothing() -> None:
    assert [isa_named(isa.name) for isa in FAMILIES] == list(FAMILIES)
    assert FAMILIES[-1].needs == ()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
@pytest.mark.parametrize(
    "features",
    [
        set(),
        {"neon"},
        {"neon", "dotprod"},
        {"avx2", "fma", "f16c"},
        {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"},
        {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx2", "fma", "f16c"},
    ],
)
def test_this_machines_family_is_that_of_its_target(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: set[str]
) -> None:
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "host_features", lambda: frozenset(features))
    triples = {"x86_64": X86, "aarch64": ARM}
    if machine in triples:
        target = Target({"kind": "llvm", "mtriple": triples[machine], **host.host_cpu()})
        assert host_isa() == isa_of(target)
    else:
        assert host_isa() == PORTABLE
