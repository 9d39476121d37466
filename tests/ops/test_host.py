"""This machine's CPU features under LLVM's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.ops.host import host_features


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
