"""Compiles PrimFuncs for plain LLVM and calls them."""

from __future__ import annotations

from typing import Any

from tvm_c4n._tvm import IRModule, Target, tvm


def call(func: Any, *arguments: Any) -> list[Any]:
    """Compile a PrimFunc and call it; returns its arguments afterwards."""
    return call_all({"main": (func, arguments)})["main"]


def call_all(calls: dict[str, tuple[Any, tuple[Any, ...]]]) -> dict[str, list[Any]]:
    """Compile functions together and call each once; returns their arguments afterwards."""
    module = IRModule({n: f.with_attr("global_symbol", n) for n, (f, _) in calls.items()})
    library = tvm.compile(module, Target({"kind": "llvm"}))
    results = {}
    for name, (_, arguments) in calls.items():
        tensors = [a if isinstance(a, int) else tvm.runtime.tensor(a) for a in arguments]
        library[name](*tensors)
        results[name] = [t if isinstance(t, int) else t.numpy() for t in tensors]
    return results
