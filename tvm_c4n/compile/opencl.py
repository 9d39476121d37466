"""What the experimental target adreno needs beside `build`: the sources to look at."""

from __future__ import annotations

from tvm_c4n._tvm import relax


def opencl_sources(executable: relax.VMExecutable) -> str:
    """Return the OpenCL code of an executable that `build` made for the target adreno."""
    queue, found = [executable.mod], []
    for module in queue:
        queue.extend(module.imports)
        if module.kind == "opencl":
            found.append(str(module.inspect_source()))
    return "\n".join(found)
