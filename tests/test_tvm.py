"""The names of tvm that the package is written against, and the intrinsics of its LLVM."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n import _tvm
from tvm_c4n._tvm import te, tvm
from tvm_c4n.errors import TargetError

ROOT = Path(__file__).parents[1]


def test_every_name_is_there() -> None:
    for name in _tvm.__all__:
        assert getattr(_tvm, name) is not None


def test_nothing_else_says_what_releases_name_otherwise() -> None:
    """TVM's names, as the module of the release says them; `_tvm_runtime` asks the library."""
    moved = re.compile(
        r"\.name_hint\b|\bllvm_(get|lookup)_|codegen\.|import .*\bcodegen\b|from tvm\.tirx import"
        r"|\btirx\.(AttrStmt|Bind|Buffer|BufferStore|BufferType|DeclBuffer|For|ForKind)\b"
        r"|\btirx\.(IfThenElse|IterVar|PrimFunc|SeqStmt)\b"
    )
    of_the_release = ROOT / "tvm_c4n" / "_tvm" / "v0_27.py"
    assert moved.search(of_the_release.read_text())
    folders = ("tvm_c4n", "schedules", "relay_passes", "tests", "tools", "benchmarks", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in files
        if path not in (of_the_release, Path(__file__))
        and (found := moved.search(path.read_text()))
    }
    assert named == set()


REFUSED = {
    "tvm.__version__ = '0.28.0'": "tvm 0.28.0 is installed; tvm_c4n needs 0.27.x: ",
    "tvm_ffi.__version__ = '0.1.15.post2'": (
        "tvm_ffi 0.1.15.post2 is installed, which crashes tvm 0.27: "
    ),
}


@pytest.mark.parametrize("version", REFUSED)
def test_other_releases_are_refused_with_the_command_that_mends_it(version: str) -> None:
    program = f"""
import tvm, tvm_ffi
{version}
from tvm_c4n.errors import TargetError
try:
    import tvm_c4n._tvm
except TargetError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    install = "pip install 'apache-tvm==0.27.*' 'apache-tvm-ffi<0.1.15'"
    assert done.stdout == f"{REFUSED[version]}{install}\n"


def test_types_are_written() -> None:
    """What tvm_ffi 0.1.15 ends the process at: it calls TVM's hash of types."""
    nodes = json.loads(tvm.ir.save_json(tvm.ir.PrimType("int32")))["nodes"]
    assert {"span": 0, "dtype": "int32"} in [node.get("data") for node in nodes]


def test_an_intrinsic_is_called_by_llvms_name() -> None:
    a = te.placeholder((4,), "float32", name="a")
    b = te.compute((4,), lambda i: _tvm.intrinsic("float32", "llvm.floor", a[i]), name="b")
    kernel = tvm.compile(te.create_prim_func([a, b]), target="llvm")
    source = tvm.runtime.tensor(np.array([1.5, -1.5, 2, -0.25], np.float32))
    result = tvm.runtime.tensor(np.zeros(4, np.float32))
    kernel(source, result)
    assert result.numpy().tolist() == [1, -2, 2, -1]


def test_an_intrinsic_that_llvm_lacks_is_named() -> None:
    with pytest.raises(TargetError, match=r"no intrinsic llvm\.no\.such\.thing"):
        _tvm.intrinsic("float32", "llvm.no.such.thing")
