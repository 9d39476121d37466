"""Libraries for this machine and for phones, with each linker that may be there, and with none."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax, te
from tvm.target import Target

from tvm_c4n.compile.elf import read_elf, read_machine
from tvm_c4n.compile.link import link_shared, make_fcompile
from tvm_c4n.errors import TargetError

HOST = f"{platform.machine()}-linux-gnu"
LINUX, ANDROID = "aarch64-linux-gnu", "aarch64-linux-android"
BARE = {"libtvm_runtime.so", "libtvm_ffi.so", "libm.so", "libc.so"}

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="links for this machine as Linux")
with_lld = pytest.mark.skipif(not shutil.which("ld.lld"), reason="apt-get install lld")
with_cc = pytest.mark.skipif(not shutil.which("cc"), reason="apt-get install gcc libc6-dev")


def exp_library(triple):
    """A library whose `main` is b = exp(a), which calls the C library's expf."""
    a = te.placeholder((64,), "float32", name="a")
    b = te.compute((64,), lambda i: te.exp(a[i]), name="b")
    target = Target({"kind": "llvm", "mtriple": triple})
    return tvm.compile(tvm.IRModule({"main": te.create_prim_func([a, b])}), target)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One object file per triple."""
    paths = {}
    for triple in (HOST, LINUX, ANDROID):
        paths[triple] = tmp_path_factory.mktemp("objects") / f"{triple}.o"
        exp_library(triple).mod.write_to_file(str(paths[triple]))
    return paths


@pytest.fixture(params=[pytest.param("ld.lld", marks=with_lld), "ziglang"])
def only_lld(request, tmp_path, monkeypatch):
    """A machine that has an LLD and nothing else."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if request.param == "ld.lld":
        (tools / "ld.lld").symlink_to(shutil.which("ld.lld"))
    else:
        pytest.importorskip("ziglang", reason="pip install ziglang")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("CC", raising=False)


def run_exp(path):
    x = np.linspace(-3, 3, 64, dtype="float32")
    y = tvm.runtime.tensor(np.zeros(64, "float32"))
    tvm.runtime.load_module(str(path))["main"](tvm.runtime.tensor(x), y)
    np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-6)


@on_linux
@with_cc
def test_the_c_compiler_links_for_this_machine(tmp_path):
    exp_library(HOST).export_library(str(tmp_path / "k.so"), fcompile=make_fcompile(HOST))
    assert read_elf(tmp_path / "k.so").machine == read_machine(Path(sys.executable).resolve())
    run_exp(tmp_path / "k.so")


@on_linux
def test_this_machine_needs_no_compiler(only_lld, tmp_path):
    exp_library(HOST).export_library(str(tmp_path / "k.so"), fcompile=make_fcompile(HOST))
    elf = read_elf(tmp_path / "k.so")
    assert "expf" in elf.undefined
    assert elf.needed == ("libm.so.6", "libc.so.6")
    run_exp(tmp_path / "k.so")


@on_linux
def test_a_relax_module_with_constants_needs_no_compiler(only_lld, tmp_path):
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(relax.op.add(x, relax.const(np.float32(2))))
        builder.emit_func_output(out)
    executable = relax.build(builder.get(), Target({"kind": "llvm", "mtriple": HOST}))
    executable.export_library(str(tmp_path / "m.so"), fcompile=make_fcompile(HOST))
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(tmp_path / "m.so")), tvm.cpu())
    got = machine["main"](tvm.runtime.tensor(np.ones((2, 3), "float32"))).numpy()
    np.testing.assert_array_equal(got, np.full((2, 3), 3))


def test_android_without_the_ndk(only_lld, objects, tmp_path):
    out = tmp_path / "app" / "libmodel.so"
    link_shared([objects[ANDROID]], out, triple=ANDROID)
    elf = read_elf(out)
    assert elf.machine == "aarch64"
    assert elf.soname == "libmodel.so"
    assert set(elf.needed) == BARE
    assert elf.load_align_bytes == 16384
    assert elf.undefined == ("TVMFFIErrorSetRaisedFromCStrParts", "expf")
    assert "__tvm_ffi_main" in elf.exported
    assert not elf.text_relocations
    assert not elf.executable_stack
    assert [path.name for path in out.parent.iterdir()] == ["libmodel.so"]


@pytest.mark.phone
@pytest.mark.parametrize("triple", [LINUX, ANDROID])
def test_the_phone_runs_it(phone, triple, request):
    if triple == ANDROID:
        request.getfixturevalue("lld")  # the cross compiler of the phone links for Linux alone
    x = np.linspace(-3, 3, 64, dtype="float32")
    arrays = [x, np.zeros(64, "float32")]
    got = phone.run(exp_library(triple), {"main": arrays}, triple=triple)["main"][1]
    np.testing.assert_allclose(got, np.exp(x), rtol=1e-6)


def test_linux_on_arm_without_a_cross_compiler(only_lld, objects, tmp_path):
    link_shared([objects[LINUX]], tmp_path / "k.so", triple=LINUX)
    elf = read_elf(tmp_path / "k.so")
    assert elf.machine == "aarch64"
    assert elf.needed == ("libm.so.6", "libc.so.6")


def fake_ndk(home, body):
    """An NDK whose clang is a script; it writes its arguments to `calls`."""
    tools = home / "toolchains/llvm/prebuilt/linux-x86_64/bin"
    tools.mkdir(parents=True)
    script = f'#!/bin/sh\necho "$@" >>{home}/calls\n{body}\n'
    (tools / "clang").write_text(script)
    (tools / "clang").chmod(0o755)
    return home


def test_the_ndk_is_taken_where_it_is(objects, tmp_path, monkeypatch):
    body = 'while [ "$1" != -o ]; do shift; done; echo library >"$2"'
    monkeypatch.setenv("ANDROID_NDK_HOME", str(fake_ndk(tmp_path / "ndk", body)))
    link_shared([objects[ANDROID]], tmp_path / "k.so", triple=ANDROID)
    *stubs, last = (tmp_path / "ndk" / "calls").read_text().splitlines()
    assert last.startswith("--target=aarch64-linux-android24 -shared ")
    assert "-z,max-page-size=16384" in last
    assert [stub.split()[-1].rsplit("/")[-1] for stub in stubs] == [
        "libtvm_runtime.so",
        "libtvm_ffi.so",
    ]
    assert all("-nostdlib" in stub for stub in stubs)
    assert (tmp_path / "k.so").read_text() == "library\n"


def test_the_compilers_last_word_is_not_its_exit_status(objects, tmp_path, monkeypatch):
    body = 'echo "ld: error: no space" >&2; echo "collect2: error: ld returned 1" >&2; exit 1'
    monkeypatch.setenv("ANDROID_NDK_HOME", str(fake_ndk(tmp_path / "ndk", body)))
    with pytest.raises(TargetError, match=r"^cannot link .*: ld: error: no space$"):
        link_shared([objects[ANDROID]], tmp_path / "k.so", triple=ANDROID)


def test_a_failure_leaves_the_old_library_and_nothing_else(only_lld, objects, tmp_path):
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "k.so"
    out.write_text("old")
    with pytest.raises(TargetError, match=r"^cannot link k\.so: .*duplicate symbol"):
        link_shared([objects[ANDROID], objects[ANDROID]], out, triple=ANDROID)
    assert out.read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_objects_for_another_machine_are_refused(only_lld, objects, tmp_path):
    other = "riscv64-linux-gnu"
    with pytest.raises(TargetError, match=f"is compiled for aarch64, not for {other}"):
        link_shared([objects[LINUX]], tmp_path / "k.so", triple=other)


def test_objects_that_are_missing_or_none_are_named(only_lld, tmp_path):
    with pytest.raises(TargetError, match=r"gone\.o: no such object file"):
        link_shared([tmp_path / "gone.o"], tmp_path / "k.so", triple=ANDROID)
    with pytest.raises(TargetError, match=r"nothing to link to k\.so"):
        link_shared([], tmp_path / "k.so", triple=ANDROID)
    (tmp_path / "text.o").write_text("int x;")
    with pytest.raises(TargetError, match=r"text\.o is not an object file"):
        link_shared([tmp_path / "text.o"], tmp_path / "k.so", triple=ANDROID)


@with_lld
def test_options_reach_the_linker(only_lld, objects, tmp_path):
    fcompile = make_fcompile(ANDROID)
    assert fcompile.get_target_triple() == ANDROID
    fcompile(str(tmp_path / "k.so"), [str(objects[ANDROID])], options=["-z", "max-page-size=65536"])
    assert read_elf(tmp_path / "k.so").load_align_bytes == 65536


@pytest.mark.skipif(not shutil.which("readelf"), reason="apt-get install binutils")
def test_readelf_says_the_same(only_lld, objects, tmp_path, monkeypatch):
    link_shared([objects[ANDROID]], tmp_path / "k.so", triple=ANDROID)
    monkeypatch.undo()
    command = ["readelf", "-dW", "--dyn-syms", str(tmp_path / "k.so")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    elf = read_elf(tmp_path / "k.so")
    lines = [line.split() for line in said.splitlines() if "UND" in line.split()]
    assert tuple(sorted(words[7] for words in lines if len(words) > 7)) == elf.undefined
    assert [line.split("[")[1][:-1] for line in said.splitlines() if "(NEEDED)" in line] == list(
        elf.needed
    )
