"""Tags of phones' cores: LLVM knows the cores by these names, and their instructions."""

from __future__ import annotations

import pytest

from tvm_c4n._registration.tags import TAGS
from tvm_c4n._tvm import Target, cpu_features
from tvm_c4n.compile.target import features_of, resolve_target
from tvm_c4n.ops.isa import NEON, NEON_I8MM, isa_of


@pytest.mark.parametrize("name", TAGS)
def test_a_core_has_what_its_tag_lets_code_use(name: str) -> None:
    target = Target(name)
    core = {"kind": "llvm", "mtriple": str(target.attrs["mtriple"]), "mcpu": name.split("/")[1]}
    assert cpu_features(Target(core)) >= set(features_of(target)) > {"dotprod"}
    assert isa_of(target) in (NEON_I8MM, NEON)
    assert str(resolve_target(name)) == str(resolve_target(target)) == str(target)


def test_newer_cores_multiply_matrices() -> None:
    assert isa_of(Target("c4n/cortex-x4")) is NEON_I8MM
    assert isa_of(Target("c4n/cortex-a78")) is NEON
