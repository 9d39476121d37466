"""tvm_c4n: C4n-sparse state space language models, pruned, compiled with Apache TVM, and run.

>>> import tvm_c4n
>>> tvm_c4n.prune("mamba-19m", "pruned", tvm_c4n.Recipe(removed=2, dtype="int8"))
>>> tvm_c4n.compile_model("pruned", "artifact")
>>> with tvm_c4n.Model("artifact") as model:
...     print(model.generate("The river"))

Names are imported when they are first used (PEP 562): tvm and torch take seconds to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvm_c4n._registration import register_with_tvm
from tvm_c4n._version import __version__

if TYPE_CHECKING:
    from tvm_c4n.api import Model
    from tvm_c4n.compile.artifact import compile_model
    from tvm_c4n.compile.build import build, pipeline
    from tvm_c4n.compile.cache import load
    from tvm_c4n.pruning.recipe import Recipe
    from tvm_c4n.pruning.run import prune
    from tvm_c4n.runtime.generate import generate
    from tvm_c4n.tuning.run import tune

__all__ = [
    "Model",
    "Recipe",
    "__version__",
    "build",
    "compile_model",
    "generate",
    "load",
    "pipeline",
    "prune",
    "tune",
]

_HOMES = {
    "Model": "tvm_c4n.api",
    "Recipe": "tvm_c4n.pruning.recipe",
    "build": "tvm_c4n.compile.build",
    "compile_model": "tvm_c4n.compile.artifact",
    "generate": "tvm_c4n.runtime.generate",
    "load": "tvm_c4n.compile.cache",
    "pipeline": "tvm_c4n.compile.build",
    "prune": "tvm_c4n.pruning.run",
    "tune": "tvm_c4n.tuning.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOMES:
        if name == "prune":
            from tvm_c4n.extras import require

            require("prune", "pruning")
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_tvm()
