"""The part of TVM that runs compiled models: its runtime library, without the compiler.

``import tvm`` loads 260 MB of compiler and, where torch is installed, torch as well: seconds and
some 400 MB that a compiled model has no use for. What runs models imports this module instead, and
whoever imports ``tvm`` before or afterwards finds the same library loaded once.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# On x86 TVM assumes two hardware threads per core and would use half of a virtual machine's cores.
# Its pool reads this once, when the first kernel runs.
os.environ.setdefault("TVM_NUM_THREADS", str(os.cpu_count() or 1))
# Idle threads of the pool spin for 0.1 s by default before they sleep. Meanwhile they disturb the
# fewer threads that a step uses when another program holds a core. This count makes 10 ms of it.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "40000")

# tvm_ffi imports torch where it is installed, to know its tensors from others; it takes any tensor
# by the DLPack protocol as well, torch's too.
_without_torch = not {"torch", "tvm_ffi"} & sys.modules.keys()
if _without_torch:
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    import tvm_ffi
finally:
    if _without_torch:
        del sys.modules["torch"]

__all__ = ["VirtualMachine", "from_dlpack", "get_global_func", "load_module", "tensor"]

_CPU, _POOLED = 1, 2
_keep: list[ctypes.CDLL] = []

from_dlpack = tvm_ffi.from_dlpack
get_global_func = tvm_ffi.get_global_func
load_module = tvm_ffi.load_module


def tvm_version() -> str:
    """Return the version of TVM that is installed, without importing it."""
    try:
        return version("apache-tvm")
    except PackageNotFoundError:  # built from its sources
        return "unknown"


def llvm_version() -> int | None:
    """Return the major version of the LLVM that TVM compiles with; None where it has none.

    Loads the compiler's library, which takes some 30 ms, and none of its Python modules.
    """
    compiler = Path(_library._name).with_name("libtvm_compiler.so")
    try:
        # The functions that it registers go with it.
        _keep.append(ctypes.CDLL(str(compiler), ctypes.RTLD_GLOBAL))
        return int(get_global_func("target.llvm_version_major")())
    except (OSError, ValueError):
        return None


def _load() -> ctypes.CDLL:
    """Load TVM's runtime library; the same one that ``import tvm`` loads."""
    if "tvm" not in sys.modules:
        found = importlib.util.find_spec("tvm")
        folders = [Path(place) for place in (found and found.submodule_search_locations) or ()]
        libraries = [Path(folder, "lib", "libtvm_runtime.so") for folder in folders]
        for library in libraries:
            if library.is_file():
                return ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    import tvm

    loaded: ctypes.CDLL = tvm.base._LOADED_LIBS["tvm_runtime"]
    return loaded


_library = _load()


@cache
def _allocate() -> Any:
    return get_global_func("runtime.TVMTensorAllocWithScope")


def tensor(array: NDArray[Any]) -> Any:
    """Copy an array into a tensor that lies where kernels want it."""
    dtype = tvm_ffi.dtype(str(array.dtype))
    made = _allocate()(tvm_ffi.Shape(array.shape), dtype, tvm_ffi.device("cpu", 0), None)
    np.from_dlpack(made)[...] = array
    return made


class VirtualMachine:
    """Relax's virtual machine of a compiled library, on the CPU.

    Parameters
    ----------
    library : tvm_ffi.Module

    Attributes
    ----------
    module : tvm_ffi.Module
        With the functions of the model and those about them.
    """

    def __init__(self, library: Any) -> None:
        self.module: Any = library["vm_load_executable"]()
        self.module["vm_initialization"](_CPU, 0, _POOLED)

    def __getitem__(self, name: str) -> Any:
        return self.module[name]

    def save_function(self, name: str, saved: str, *arguments: Any) -> None:
        """Bind a function to arguments; calls of the saved one take none."""
        self.module["save_function"](name, saved, 1, *arguments)
