"""The linker for a target, and what to install where there is none."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tvm_c4n.compile.linker import find_lld, linker_for, system_of
from tvm_c4n.errors import TargetError

HOST = f"{platform.machine()}-linux-gnu"
ANDROID = "aarch64-linux-android"


def test_an_ndk_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path))
    with pytest.raises(TargetError, match=f"ANDROID_NDK_HOME={tmp_path} has no"):
        linker_for(ANDROID, "android")


@pytest.mark.parametrize(
    ("triple", "remedies"),
    [(HOST, ["gcc"]), ("riscv64-linux-gnu", ["lld"]), (ANDROID, ["lld", "ANDROID_NDK_HOME"])],
)
def test_without_a_linker_the_remedies_are_named(
    triple: str, remedies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_lld() is None
    with pytest.raises(TargetError) as caught:
        linker_for(triple, system_of(triple))
    for remedy in ["pip install 'tvm-c4n[link]'", *remedies]:
        assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("triple", ["wasm32-unknown-unknown", "x86_64-pc-windows-msvc"])
def test_other_systems_are_refused(triple: str) -> None:
    with pytest.raises(TargetError, match="only Linux and Android"):
        system_of(triple)
