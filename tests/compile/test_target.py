"""Targets by name, and this machine's by what it can do."""

from __future__ import annotations

from typing import Any

import pytest

from tvm_c4n._tvm import Target, system_triple
from tvm_c4n.compile.target import is_native, resolve_target, triple_of
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.isa import AVX2, NEON, NEON_I8MM, OPENCL, PORTABLE, isa_of


def test_an_unknown_target_is_one_line() -> None:
    with pytest.raises(TargetError, match="unknown target 'esp32'; known are host, arm64-linux"):
        resolve_target("esp32")


def test_a_target_of_tvm_is_kept() -> None:
    given = Target({"kind": "llvm", "mtriple": "riscv64-linux-gnu"})
    assert resolve_target(given) is given


@pytest.mark.parametrize("kind", ["cuda", "vulkan", "metal", "hexagon", "opencl", "webgpu"])
def test_targets_without_kernels_are_refused(kind: str) -> None:
    with pytest.raises(TargetError, match=f"no kernels for targets of kind '{kind}': give one of"):
        resolve_target(Target(kind))


@pytest.mark.parametrize("given", [None, 7, {"kind": "llvm"}])
def test_what_is_no_target_is_refused(given: Any) -> None:
    with pytest.raises(TargetError, match=r"unknown target .*or pass a tvm.target.Target"):
        resolve_target(given)


def test_a_target_without_a_triple_is_this_machines() -> None:
    system = system_triple()
    for description in ("llvm", {"kind": "llvm", "mcpu": "x86-64-v3"}, "c"):
        assert triple_of(Target(description)) == system
        assert is_native(Target(description))
    assert triple_of(resolve_target("arm64-linux")) == "aarch64-linux-gnu"
    assert triple_of(resolve_target("adreno")) == "aarch64-linux-android"  # its host's


def test_targets_choose_their_instruction_set() -> None:
    assert isa_of(resolve_target("arm64-android")) == NEON
    assert isa_of(resolve_target("arm64-linux-i8mm")) == NEON_I8MM
    assert isa_of(Target({"kind": "llvm", "mtriple": "aarch64-linux-gnu"})) == PORTABLE
    assert isa_of(Target({"kind": "llvm"})) == PORTABLE
    assert isa_of(Target({"kind": "c"})) == PORTABLE
    assert isa_of(resolve_target("adreno")) == OPENCL
    v3 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"}
    assert isa_of(Target(v3)) == AVX2
