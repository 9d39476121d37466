"""The names of tvm that the package is written against, and the intrinsics of its LLVM."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tvm_c4n import _tvm
from tvm_c4n.errors import TargetError


def test_every_name_is_there() -> None:
    for name in _tvm.__all__:
        assert getattr(_tvm, name) is not None


def test_another_tvm_is_refused_with_the_command_that_mends_it() -> None:
    program = """
import tvm
tvm.__version__ = "0.28.0"
from tvm_c4n.errors import TargetError
try:
    import tvm_c4n._tvm
except TargetError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("tvm 0.28.0 is installed; tvm_c4n needs 0.27.")
    assert "pip install 'apache-tvm==0.27.*'" in done.stdout


def test_an_intrinsic_is_called_by_llvms_name() -> None:
    from tvm_c4n._tvm import te, tvm

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
