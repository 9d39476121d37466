"""`tvm-c4n --version`: this package, and what decides which code it makes."""

from __future__ import annotations


def version_line() -> str:
    """Say which versions are installed, and which kernels this machine gets."""
    from tvm_c4n._tvm_runtime import llvm_version, tvm_version
    from tvm_c4n._version import __version__
    from tvm_c4n.ops.isa import host_isa

    llvm = llvm_version()
    made = "no LLVM" if llvm is None else f"LLVM {llvm}"
    return f"tvm-c4n {__version__}, TVM {tvm_version()}, {made}, kernels: {host_isa().name}"
