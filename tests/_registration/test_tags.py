"""Tags of targets: LLVM knows the cores of phones by these names, and their instructions."""

from __future__ import annotations

import pytest

from tvm_c4n._registration.tags import TAGS
from tvm_c4n._tvm import Target, cpu_features
from tvm_c4n.compile.target import features_of, resolve_target
from tvm_c4n.ops.isa import AVX2, NEON, NEON_I8MM, isa_of

LAPTOP = "c4n/x86-64-v3"


def test_a_laptop_has_avx2_and_no_more() -> None:
    target = Target(LAPTOP)
    assert isa_of(target) is AVX2
    assert not any("avx512" in name or "vnni" in name for name in cpu_features(target))
    assert str(resolve_target(LAPTOP)) == str(target)


@pytest.mark.parametrize("name", [name for name in TAGS if name != LAPTOP])
def test_a_core_has_what_its_tag_lets_code_use(name: str) -> None:
    target = Target(name)
    core = {"kind": "llvm", "mtriple": str(target.attrs["mtriple"]), "mcpu": name.split("/")[1]}
    assert cpu_features(Target(core)) >= set(features_of(target)) > {"dotprod"}
    assert isa_of(target) in (NEON_I8MM, NEON)
    assert str(resolve_target(name)) == str(resolve_target(target)) == str(target)


def test_newer_cores_multiply_matrices() -> None:
    assert isa_of(Target("c4n/cortex-x4")) is NEON_I8MM
    assert isa_of(Target("c4n/cortex-a78")) is NEON
