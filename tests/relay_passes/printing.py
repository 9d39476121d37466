"""A module through TVMScript and back, and what TVM 0.27 prints but cannot read."""

from __future__ import annotations

from tvm_c4n._tvm import IRModule, tvm

# By what is printed: what the parser takes instead.
# The node of a launch or a barrier is an int32; it is printed as a Python integer, and read as one.
REPLACED = {'T.attr(0, "pragma': 'T.attr(T.int32(0), "pragma'}

# What is printed and cannot be read at all; `test_printing.py` fails when TVM learns it.
# `tirx.prefetch` is printed as `T.prefetch`, which the parser does not have. All kernels for named
# CPUs prefetch, so the tests of TVMScript use those of the portable instruction set.
UNREADABLE = ("T.prefetch(",)


def round_trip(mod: IRModule) -> IRModule:
    """Print a module and parse it again."""
    text = mod.script(show_meta=True)
    for printed, parsed in REPLACED.items():
        text = text.replace(printed, parsed)
    return tvm.script.from_source(text)
