"""The phases of a C4n build, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from relay_passes.bind_schedules import BindSchedules, Choose
from relay_passes.decompose_layout_ops import DECOMPOSED, DecomposeLayoutOps
from relay_passes.dump_module import DumpModule
from relay_passes.eliminate_common_transposes import EliminateCommonTransposes
from relay_passes.eliminate_layout import EliminateLayout
from relay_passes.fuse_regions import FuseRegions
from relay_passes.hoist_alloc_tensor import HoistAllocTensor
from relay_passes.lift_constants import LiftConstants
from relay_passes.pack_weights import PackWeights
from relay_passes.rewrite_dense_to_c4n import Convert, RewriteDenseToC4n, lossless
from relay_passes.roll_layers import RollLayers
from tvm_c4n._tvm import relax, tvm

Pass: TypeAlias = Any  # tvm.transform.Pass, which has no types
Phases: TypeAlias = list[tuple[str, list[Pass]]]
"""Names of phases and their passes, in order."""


def c4n_phases(
    lanes: int,
    choose: Choose,
    *,
    lift: bool,
    convert: Convert = lossless,
    layout_report: Path | None = None,
    gpu: bool = False,
) -> Phases:
    """Return the named phases that come before TVM's own lowering.

    Parameters
    ----------
    lanes : int
        Rows of a packed tile.
    choose : callable
        See `BindSchedules`.
    lift : bool
        Whether constants become parameters.
    convert : callable
        See `RewriteDenseToC4n`.
    layout_report : Path, optional
        See `EliminateLayout`.
    gpu : bool
        Kernels that are not C4n's get a grid by TVM's schedules, which do not understand kernels
        that read by index: layout elimination is left out, and shared regions.
    """
    t = relax.transform
    return [
        ("dispatch", [relax.backend.DispatchSampling(), relax.backend.DispatchSortScan()]),
        ("rewrite", [t.FoldConstant(), RewriteDenseToC4n(convert)]),
        ("pack", [PackWeights(lanes)]),
        ("bind", [BindSchedules(choose)]),
        *([] if gpu else [("fuse", [FuseRegions(choose), RollLayers()])]),
        (
            "legalize",
            [
                EliminateCommonTransposes(),
                t.LegalizeOps(skip_ops=DECOMPOSED),
                t.FoldConstant(),
                DecomposeLayoutOps(),
                t.LegalizeOps(),
                t.AnnotateTIROpPattern(),
                t.FoldConstant(),
                t.FuseOps(),
                t.FuseTIR(),
            ],
        ),
        ("grid", [_grids()]) if gpu else ("layout", [EliminateLayout(layout_report)]),
        *([("lift", [LiftConstants()])] if lift else []),
    ]


def _grids() -> Pass:
    """Return TVM's schedules for kernels of a mobile GPU."""
    from tvm.s_tir.dlight import ApplyDefaultSchedule, gpu

    return ApplyDefaultSchedule(gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())


def lowering_phases() -> Phases:
    """Return the passes from Relax to the instructions of the virtual machine: TVM's, and one."""
    t = relax.transform
    lower = [t.RewriteDataflowReshape(), t.ToNonDataflow(), t.RemovePurityChecking()]
    memory = [
        t.CallTIRRewrite(),
        t.StaticPlanBlockMemory(),
        HoistAllocTensor(),
        t.LowerAllocTensor(),
        t.KillAfterLastUse(),
        t.LowerRuntimeBuiltin(),
        t.ComputePrimValue(),
        t.VMShapeLower(),
        t.AttachGlobalSymbol(),
    ]
    return [("lower", lower), ("memory", memory)]


def sequence(phases: Phases, *, dump: Path | None = None, first: int = 1) -> Pass:
    """Return phases as one pass.

    Parameters
    ----------
    phases : list of (name, passes)
    dump : Path, optional
        Folder that gets the module after each phase as ``<number>_<name>``.
    first : int
        Number of the first phase.
    """
    passes: list[Pass] = []
    for number, (name, members) in enumerate(phases, first):
        passes += members
        if dump is not None:
            passes.append(DumpModule(dump, f"{number}_{name}"))
    return tvm.transform.Sequential(passes)


def c4n_pipeline(lanes: int, choose: Choose, *, dump: Path | None = None) -> Pass:
    """Return the whole pipeline as a Relax pipeline for `relax.build` (``relax_pipeline=``).

    Parameters
    ----------
    lanes, choose
        See `c4n_phases`.
    dump : Path, optional
        Folder that gets the module after each phase.
    """
    phases = c4n_phases(lanes, choose, lift=False)
    return sequence([*phases, *lowering_phases()], dump=dump)
