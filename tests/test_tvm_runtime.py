"""A compiled model runs on TVM's runtime alone, beside all of TVM or without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n import _tvm_runtime
from tvm_c4n.runtime.engine import Engine

RUN = """
import sys
from tvm_c4n.runtime.engine import Engine
logits = Engine.load(sys.argv[1], threads=1).prefill([1, 2, 3])
print(logits.tobytes().hex(), sorted({"tvm", "torch"} & set(sys.modules)))
"""
EARLIER = {
    "alone": ("", "[]"),
    "after tvm": ("import tvm", "['torch', 'tvm']"),
    "after tvm_ffi": ("import tvm_ffi", "['torch']"),
    "before tvm": ("import tvm_c4n._tvm_runtime, tvm, tvm_c4n._tvm", "['torch', 'tvm']"),
    "before torch": ("import tvm_c4n._tvm_runtime, torch; torch.zeros(2)", "['torch']"),
}


@pytest.mark.parametrize(
    "how",
    [
        "alone",
        "before tvm",
        *(
            pytest.param(how, marks=pytest.mark.slow)
            for how in list(EARLIER)[1:]
            if how != "before tvm"
        ),
    ],
)
def test_a_model_runs_the_same_whatever_else_is_loaded(how: str, small_artifact: Path) -> None:
    pytest.importorskip("torch")
    earlier, loaded = EARLIER[how]
    done = subprocess.run(
        [sys.executable, "-c", earlier + RUN, str(small_artifact)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = Engine.load(small_artifact, threads=1).prefill([1, 2, 3])
    assert done.stdout == f"{expected.tobytes().hex()} {loaded}\n"


def test_tensors_of_torch_are_taken_without_tvm_knowing_torch() -> None:
    pytest.importorskip("torch")
    program = """
import numpy as np
from tvm_c4n._tvm_runtime import from_dlpack, get_global_func
import torch
found = np.from_dlpack(from_dlpack(torch.arange(3)))
echo = get_global_func("testing.echo")
print(found.tolist(), tuple(echo(torch.arange(4)).shape))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[0, 1, 2] (4,)\n", done.stderr


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16", "uint8"])
@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 3, 5)])
def test_tensors_are_copies_that_are_aligned(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    made = _tvm_runtime.tensor(array)
    view = np.from_dlpack(made)
    assert view.dtype == array.dtype and np.array_equal(view, array)
    assert view.ctypes.data % 64 == 0
    before = view.copy()
    array += 1
    assert np.array_equal(view, before)


def test_the_version_is_that_of_tvm() -> None:
    import tvm

    assert _tvm_runtime.tvm_version().startswith(tvm.__version__.split("+")[0][:4])


def test_the_version_of_llvm_is_that_of_the_compiler() -> None:
    from tvm_c4n._tvm import compiler_version

    assert _tvm_runtime.llvm_version() == compiler_version()
