"""Names of TVM that `tvm_c4n._tvm` imports and the installed release lacks: where a port begins.

    python tools/moved_names.py

Exits with 1 if there are any.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

SHIM = Path(__file__).parents[1] / "tvm_c4n" / "_tvm"


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of what Python source imports from TVM."""
    for node in ast.walk(ast.parse(source)):
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and module.split(".")[0] in ("tvm", "tvm_ffi"):
            yield from ((module, alias.name) for alias in node.names)


def is_there(module: str, name: str) -> bool:
    """Return whether the installed release has a name."""
    try:
        return hasattr(import_module(module), name) or bool(import_module(f"{module}.{name}"))
    except ImportError:
        return False


def main() -> int:
    found = {name for file in SHIM.glob("*.py") for name in imports(file.read_text())}
    missing = sorted(f"{module}.{name}" for module, name in found if not is_there(module, name))
    print(f"{len(found)} names of TVM, {len(missing)} of them gone", *missing, sep="\n  ")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
