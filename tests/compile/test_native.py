"""The runner's folder: what is in it, for which machine, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_c4n.compile.elf import read_elf
from tvm_c4n.compile.native import LAUNCHER, PROGRAM, SOURCES, build_runner
from tvm_c4n.errors import CheckpointError, TargetError
from tvm_c4n.ops.isa import FAMILIES, Isa


@pytest.mark.phone
def test_the_folder_for_arm64_is_complete(arm_runner: Path) -> None:
    """Whatever its files ask for is among them: Android has no glibc."""
    here = {path.name for path in arm_runner.iterdir()}
    others = (LAUNCHER, "include")
    libraries = [path for path in arm_runner.iterdir() if path.name not in others]
    assert {name for path in libraries for name in read_elf(path).needed} <= here
    assert read_elf(arm_runner / PROGRAM).load_align_bytes >= 16384


@pytest.mark.slow
@pytest.mark.phone
def test_the_ndks_compiler_is_taken_for_android(
    phone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the NDK that compiles against glibc."""
    tools = tmp_path / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin"
    tools.mkdir(parents=True)
    (tmp_path / "libc++_shared.so").write_bytes(b"library")
    (tools / "clang++").write_text(
        "#!/bin/sh\n"
        f'case "$*" in *-print-file-name=*) echo {tmp_path}/libc++_shared.so; exit;; esac\n'
        f'echo "$1" >{tmp_path}/said; shift; exec aarch64-linux-gnu-g++ "$@"\n'
    )
    (tools / "clang++").chmod(0o755)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    out = tmp_path / "runner"
    build_runner(out, "arm64-android", runtime=phone_folder / "bin")
    assert (tmp_path / "said").read_text() == "--target=aarch64-linux-android24\n"
    assert read_elf(out / PROGRAM).machine == "aarch64"
    assert (out / "libc++_shared.so").read_bytes() == b"library"
    assert 'exec "$here/c4n_run"' in (out / LAUNCHER).read_text()


def test_missing_libraries_are_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"libtvm_runtime.so is missing"):
        build_runner(tmp_path / "r", runtime=tmp_path)
    with pytest.raises(TargetError, match=r"unknown target 'esp32'; known are host, arm64-"):
        build_runner(tmp_path / "r", "esp32")


def test_a_compiler_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent/c++")
    with pytest.raises(TargetError, match=r"cannot compile \w+\.cpp"):
        build_runner(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path, host_compiler: None) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine").write_text("")
    with pytest.raises(CheckpointError, match="not overwritten"):
        build_runner(tmp_path / "r", overwrite=True)
    assert (tmp_path / "r" / "mine").is_file()


@pytest.mark.parametrize("isa", FAMILIES, ids=lambda isa: isa.name)
def test_the_runner_tells_whether_a_cpu_has_what_a_family_needs(isa: Isa) -> None:
    source = (SOURCES / "cpu.cpp").read_text()
    assert [name for name in isa.needs if f'(name == "{name}")' not in source] == []
