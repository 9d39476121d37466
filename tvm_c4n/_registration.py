"""TVM's list of pipelines gets the name "c4n", without loading anything.

Code for TVM imports tvm and tvm_c4n in either order, and ``import tvm_c4n`` must stay cheap. So TVM
is told when both are there: at the end of ``import tvm_c4n`` if tvm is imported already, else right
after Python has loaded TVM's list.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "c4n"
_LIST = "tvm.relax.pipeline"


def register_with_tvm() -> None:
    """Register the pipeline with TVM now, or as soon as TVM is there."""
    pipelines = sys.modules.get(_LIST)
    if pipelines is not None:
        _register(pipelines)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register(pipelines: ModuleType) -> None:
    # A part of it is there while it is being loaded.
    known = getattr(pipelines, "PIPELINE_MAP", {})
    if hasattr(pipelines, "register_pipeline") and known.get(NAME) is not _pipeline:
        pipelines.register_pipeline(NAME)(_pipeline)


def _pipeline(*args: Any, **kwargs: Any) -> Any:
    """Do what `tvm_c4n.pipeline` does."""
    return import_module("tvm_c4n.compile.build").pipeline(*args, **kwargs)


class _Finder(MetaPathFinder):
    """Finds TVM's list as Python does, once, with a loader that registers the pipeline."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _LIST:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(spec.loader)
        return spec


class _Registering(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _register(module)
