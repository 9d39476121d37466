"""Passes over Relax (Relay left TVM before 0.25; the folder keeps the name that TVM users know)."""

from __future__ import annotations

from relay_passes.bind_schedules import BindSchedules
from relay_passes.check_grids import CheckGrids
from relay_passes.decompose_layout_ops import DecomposeLayoutOps
from relay_passes.dump_module import DumpModule
from relay_passes.eliminate_common_transposes import EliminateCommonTransposes
from relay_passes.eliminate_layout import EliminateLayout
from relay_passes.fuse_regions import FuseRegions
from relay_passes.hoist_alloc_tensor import HoistAllocTensor
from relay_passes.inline_copies import InlineCopies
from relay_passes.lift_constants import LiftConstants
from relay_passes.pipeline import c4n_pipeline
from relay_passes.protect_kernels import ProtectKernels
from relay_passes.repack_weights import RepackWeights
from relay_passes.rewrite_dense_to_c4n import RewriteDenseToC4n
from relay_passes.roll_layers import RollLayers
from relay_passes.take_chunks import TakeChunks

__all__ = [
    "BindSchedules",
    "CheckGrids",
    "DumpModule",
    "EliminateLayout",
    "FuseRegions",
    "InlineCopies",
    "LiftConstants",
    "ProtectKernels",
    "RepackWeights",
    "HoistAllocTensor",
    "RewriteDenseToC4n",
    "RollLayers",
    "TakeChunks",
    "EliminateCommonTransposes",
    "DecomposeLayoutOps",
    "c4n_pipeline",
]
