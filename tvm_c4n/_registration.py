"""TVM's list of pipelines gets the name "c4n", without loading anything.

Code for TVM imports tvm and tvm_c4n in either order, and ``import tvm_c4n`` must stay cheap. So TVM
is told when both are there: at the end of ``import tvm_c4n`` if tvm is imported already, else when
the first module of ours imports it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

NAME = "c4n"


def register_with_tvm() -> None:
    """Register the pipeline, if tvm is imported and does not know it yet."""
    pipelines = sys.modules.get("tvm.relax.pipeline")
    if pipelines is not None and pipelines.PIPELINE_MAP.get(NAME) is not _pipeline:
        pipelines.register_pipeline(NAME)(_pipeline)


def _pipeline(*args: Any, **kwargs: Any) -> Any:
    """Do what `tvm_c4n.pipeline` does."""
    return import_module("tvm_c4n.compile.build").pipeline(*args, **kwargs)
