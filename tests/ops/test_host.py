"""This machine's CPU features under LLVM's names, and the target that they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n._tvm import Target, cpu_features
from tvm_c4n.ops import host
from tvm_c4n.ops.host import host_description, host_features
from tvm_c4n.ops.isa import isa_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni sse4_2", {"fpu", "avx2", "avx512vnni", "sse4.2"}),
        ("Features\t: fp asimd asimddp asimdhp", {"fp", "neon", "dotprod", "fullfp16"}),
        ("model name\t: flags", set()),
    ],
)
def test_linux_names_become_llvms(
    monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor\t: 0\n{line}\n")
    assert host_features() == expected


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert host_features() == frozenset()


def test_the_host_is_described_by_what_it_can_do() -> None:
    features = cpu_features(Target(host_description()))
    isa = isa_of(Target(host_description()))
    assert host_features().issuperset(isa.needs)
    assert features.issuperset(isa.needs)


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [
        ("x86_64", set(), {}),
        ("x86_64", {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"}, {"mcpu": "x86-64-v3"}),
        ("aarch64", {"neon", "dotprod"}, {"mattr": ["+dotprod"]}),
        ("aarch64", {"neon"}, {}),
        ("riscv64", {"v"}, {}),
    ],
)
def test_features_that_a_virtual_machine_hides_are_not_used(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: set[str], expected: dict[str, object]
) -> None:
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "host_features", lambda: frozenset(features))
    found = host_description()
    assert {name: found[name] for name in found if name not in ("kind", "mtriple")} == expected
