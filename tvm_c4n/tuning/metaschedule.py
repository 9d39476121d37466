"""MetaSchedule, imported so that it does not take half a minute.

It imports `tvm.s_tir.tensor_intrin`, where every ``@T.prim_func`` walks the call stack and asks for
the module of each frame; Python then searches all sources for the frames of the import system.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from tvm_c4n.errors import TuneError


def _import() -> Any:
    original = inspect.getmodule

    def without_frozen(object: Any, _filename: str | None = None) -> ModuleType | None:
        if _filename is not None and _filename.startswith("<"):
            return None
        return original(object, _filename)

    inspect.getmodule = without_frozen
    try:
        import tvm.s_tir.tensor_intrin  # noqa: F401 - TuneContext imports it
        from tvm.s_tir import meta_schedule
    except ImportError as error:
        raise TuneError(f"tuning needs {error.name}: pip install 'tvm-c4n[tune]'") from None
    finally:
        inspect.getmodule = original
    vars(meta_schedule).update(derived_object=_derived_object())
    return meta_schedule


def _derived_object() -> Any:
    from tvm.ir.utils import derived_object

    return derived_object


ms = _import()
