"""A module through TVMScript and back."""

from __future__ import annotations

from relay_passes.dump_module import script_of
from tvm_c4n._tvm import IRModule, tvm


def round_trip(mod: IRModule) -> IRModule:
    """Print a module and parse it again."""
    return tvm.script.from_source(script_of(mod, constants=True))
