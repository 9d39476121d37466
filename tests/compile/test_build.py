"""`build`: targets, and libraries for other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay_passes.pipeline import c4n_pipeline
from tests.layers import sparse_layer
from tvm_c4n._tvm import Target, relax, tvm
from tvm_c4n.compile.build import build
from tvm_c4n.compile.elf import read_elf
from tvm_c4n.compile.link import make_fcompile
from tvm_c4n.compile.target import NAMED
from tvm_c4n.ops.host import host_description


def test_a_user_module_runs_on_the_host(tmp_path: Path) -> None:
    module, weight = sparse_layer(24, 32, relu=True)
    executable = build(module, "host", debug_dump=tmp_path)
    x = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    vm = relax.VirtualMachine(executable, tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, np.maximum(x @ weight.T, 0), rtol=1e-5, atol=1e-6)
    assert "c4n_gemv" in (tmp_path / "4_bind.py").read_text()


@pytest.mark.parametrize(
    "description",
    [
        {"kind": "llvm", "mcpu": host_description().get("mcpu", "generic")},  # no triple
        {"kind": "llvm"},
    ],
)
def test_what_relax_build_takes_as_a_target_is_taken(description: dict[str, Any]) -> None:
    module, weight = sparse_layer(24, 32, relu=True)
    x = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    vm = relax.VirtualMachine(build(module, Target(description)), tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x)).numpy()
    np.testing.assert_allclose(found, np.maximum(x @ weight.T, 0), rtol=1e-5, atol=1e-6)


def test_a_dump_has_every_phase_with_its_operators_counted(tmp_path: Path) -> None:
    build(sparse_layer(24, 32, relu=True)[0], debug_dump=tmp_path)
    names = c4n_pipeline(1, lambda _: None).names
    found = {file.stem for file in tmp_path.glob("*.py")}
    assert found == {f"{number}_{name}" for number, name in enumerate(names, 1)}  # without gaps
    counts = dict(reversed(line.split(maxsplit=1)) for line in _lines(tmp_path / "1_dispatch.txt"))
    assert counts == {"relax.matmul": "1", "relax.permute_dims": "1", "relax.nn.relu": "1"}
    assert "call_tir linear" in (tmp_path / "2_rewrite.txt").read_text()


def _lines(file: Path) -> list[str]:
    return file.read_text().strip().splitlines()


@pytest.mark.parametrize("name", sorted(NAMED))
def test_libraries_for_phones_have_their_machine(name: str, lld: None, tmp_path: Path) -> None:
    triple = NAMED[name]["mtriple"]
    library = tmp_path / "layer.so"
    executable = build(sparse_layer(24, 32, relu=True)[0], name)
    executable.export_library(str(library), fcompile=make_fcompile(triple))
    elf = read_elf(library)
    assert elf.machine == "aarch64"
    if "android" in name:
        assert elf.load_align_bytes >= 16384
        assert set(elf.needed) <= {"libtvm_runtime.so", "libtvm_ffi.so", "libm.so", "libc.so"}


@pytest.mark.phone
def test_a_user_module_runs_on_the_phone(phone: object) -> None:
    module, weight = sparse_layer(24, 32, relu=True)
    x = np.random.default_rng(1).normal(size=(1, 32)).astype(np.float32)
    found = phone.run_vm(build(module, "arm64-linux"), {"main": [x]})["main"]  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, np.maximum(x @ weight.T, 0), rtol=1e-5, atol=1e-6)
