"""TVM's lists get what is ours, without loading anything: pipeline, target tags, patterns.

The entry point group ``tvm.backends`` has TVM call `register_with_tvm` at the end of ``import
tvm``. Where TVM is told not to (``TVM_DEVICE_BACKEND_AUTOLOAD=0``), ``import tvm_c4n`` after it
does the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from tvm_c4n._registration.patterns import register_patterns
from tvm_c4n._registration.tags import register_tags

NAME = "c4n"


def register_with_tvm() -> None:
    """Register what is ours, if TVM is there and its compiler too."""
    # While TVM is being loaded, a part of this module is there.
    pipelines: Any = sys.modules.get("tvm.relax.pipeline")
    known = getattr(pipelines, "PIPELINE_MAP", {})
    if hasattr(pipelines, "register_pipeline") and known.get(NAME) is not _pipeline:
        pipelines.register_pipeline(NAME)(_pipeline)
        register_tags()
        register_patterns()


def _pipeline(*args: Any, **kwargs: Any) -> Any:
    """Do what `tvm_c4n.pipeline` does."""
    return import_module("tvm_c4n.compile.build").pipeline(*args, **kwargs)
