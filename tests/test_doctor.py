"""`tvm-c4n doctor`: every line is of this machine; what is missing comes with what to do."""

from __future__ import annotations

import shutil

import pytest

import tvm_c4n.doctor
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.doctor import Finding, examine
from tvm_c4n.ops.isa import isa_of


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    monkeypatch.setattr(tvm_c4n.doctor, "_BANDWIDTH_SECS", 0.0)
    # Neither adb nor a linker for Android is on this path, nor xgboost in this installation.
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    real = tvm_c4n.doctor.find_spec
    monkeypatch.setattr(
        tvm_c4n.doctor, "find_spec", lambda name: None if name == "xgboost" else real(name)
    )
    return {finding.what: finding for finding in examine()}


def test_it_sees_this_machine(found: dict[str, Finding]) -> None:
    assert found["kernels"].found.startswith(isa_of(resolve_target("host")).name)
    assert found["TVM"].found.startswith("0.27.")
    assert found["memory"].found.startswith("reads ")
    assert found["extra prune"] == Finding("extra prune", "yes")


def test_what_is_missing_comes_with_what_to_do(found: dict[str, Finding]) -> None:
    assert found["adb"].found == "no"
    assert "platform tools" in found["adb"].advice
    tune = Finding("extra tune", "without xgboost", "pip install 'tvm-c4n[tune]'")
    assert found["extra tune"] == tune


def test_a_target_without_linker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.setattr("tvm_c4n.compile.linker.importlib.util.find_spec", lambda _: None)
    finding = tvm_c4n.doctor._linker("arm64-android")
    assert finding.found == "no"
    assert "ANDROID_NDK_HOME" in finding.advice
    assert shutil.which("ld.lld") is None
