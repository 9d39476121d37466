"""Refuses, when it is imported, releases of TVM that the package was not written against."""

from __future__ import annotations

import tvm
import tvm_ffi

from tvm_c4n.errors import TargetError

_INSTALL = "pip install 'apache-tvm==0.27.*' 'apache-tvm-ffi<0.1.15'"

if not tvm.__version__.startswith("0.27."):
    raise TargetError(f"tvm {tvm.__version__} is installed; tvm_c4n needs 0.27.x: {_INSTALL}")

# It calls hash functions of TVM's in another way than 0.27 was compiled for, which ends the process
# (docs/internals/tvm-0.27-notes.md). A library cannot be asked for this, its version can.
if tvm_ffi.__version__.startswith("0.1.15"):
    raise TargetError(
        f"tvm_ffi {tvm_ffi.__version__} is installed, which crashes tvm 0.27: {_INSTALL}"
    )
