"""Passes over Relax (Relay left TVM before 0.25; the folder keeps the name that TVM users know)."""

from __future__ import annotations

from relay_passes.bind_schedules import BindSchedules
from relay_passes.dump import DumpModule
from relay_passes.eliminate_layout import EliminateLayout
from relay_passes.fuse_regions import FuseRegions
from relay_passes.inline_moves import InlineMoves
from relay_passes.lift_constants import LiftConstants
from relay_passes.pack_weights import PackWeights
from relay_passes.pipeline import c4n_pipeline
from relay_passes.reuse_tensors import ReuseTensors
from relay_passes.rewrite_dense_to_c4n import RewriteDenseToC4n
from relay_passes.roll_regions import RollRegions
from relay_passes.share_moves import ShareMoves
from relay_passes.spell_out_moves import SpellOutMoves

__all__ = [
    "BindSchedules",
    "DumpModule",
    "EliminateLayout",
    "FuseRegions",
    "InlineMoves",
    "LiftConstants",
    "PackWeights",
    "ReuseTensors",
    "RewriteDenseToC4n",
    "RollRegions",
    "ShareMoves",
    "SpellOutMoves",
    "c4n_pipeline",
]
