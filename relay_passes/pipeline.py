"""The phases of a C4n build, in order, as one object that can be cut, changed and run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from relay_passes.bind_schedules import BindSchedules, Choose
from relay_passes.check_grids import CheckGrids
from relay_passes.decompose_layout_ops import DECOMPOSED, DecomposeLayoutOps
from relay_passes.dump_module import DumpModule
from relay_passes.eliminate_common_transposes import EliminateCommonTransposes
from relay_passes.eliminate_layout import EliminateLayout
from relay_passes.fuse_regions import FuseRegions
from relay_passes.hoist_alloc_tensor import HoistAllocTensor
from relay_passes.lift_constants import LiftConstants
from relay_passes.protect_kernels import ProtectKernels
from relay_passes.repack_weights import RepackWeights
from relay_passes.rewrite_dense_to_c4n import Convert, RewriteDenseToC4n, lossless
from relay_passes.roll_layers import RollLayers
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.errors import C4nError

Pass: TypeAlias = Any  # tvm.transform.Pass, which has no types
Phases: TypeAlias = list[tuple[str, list[Pass]]]


class Phase(NamedTuple):
    """Passes that run together under one name."""

    name: str
    passes: tuple[Pass, ...]


@dataclass(frozen=True)
class Pipeline:
    """Named phases in order.

    Attributes
    ----------
    phases : tuple of Phase
        No two have the same name.
    dump : Path, optional
        Folder that gets the module after each phase as ``<number>_<name>``, see `DumpModule`.
    first : int
        Number of the first phase; the others count up from it, without gaps.
    """

    phases: tuple[Phase, ...]
    dump: Path | None = None
    first: int = 1

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"two phases have the same name: {', '.join(self.names)}")

    @classmethod
    def of(cls, phases: Iterable[tuple[str, Sequence[Pass]]], dump: Path | None = None) -> Pipeline:
        """Return the pipeline of pairs (name, passes)."""
        return cls(tuple(Phase(name, tuple(passes)) for name, passes in phases), dump)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the phases, in order."""
        return tuple(phase.name for phase in self.phases)

    def until(self, name: str) -> Pipeline:
        """Return the phases before one.

        Raises
        ------
        ValueError
            If no phase has this name; so do `since` and `without`.
        """
        return replace(self, phases=self.phases[: self._index(name)])

    def since(self, name: str) -> Pipeline:
        """Return one phase and those after it; each keeps its number."""
        at = self._index(name)
        return replace(self, phases=self.phases[at:], first=self.first + at)

    def without(self, name: str) -> Pipeline:
        """Return all phases but one; those after it move up by a number."""
        at = self._index(name)
        return replace(self, phases=self.phases[:at] + self.phases[at + 1 :])

    def extended(self, extend: Callable[[Phases], Phases]) -> Pipeline:
        """Return the phases that a function makes of these.

        Parameters
        ----------
        extend : callable
            Gets a new list of (name, list of passes) and returns one.

        Raises
        ------
        C4nError
            It returns anything else.
        """
        phases = extend([(name, list(passes)) for name, passes in self.phases])
        if not isinstance(phases, list | tuple) or not all(map(_is_phase, phases)):
            raise C4nError(
                "extend must return the list of phases to run, each (name, list of passes), not "
                f"{_shown(phases)}"
            )
        return Pipeline.of(phases, self.dump)

    def as_pass(self) -> Pass:
        """Return the pipeline as a pass of TVM, for `relax.build` (``relax_pipeline=``)."""
        passes: list[Pass] = []
        for number, phase in enumerate(self.phases, self.first):
            passes += phase.passes
            if self.dump is not None:
                passes.append(DumpModule(self.dump, f"{number}_{phase.name}"))
        return tvm.transform.Sequential(passes)

    def __call__(self, mod: IRModule) -> IRModule:
        """Run all phases."""
        return self.as_pass()(mod)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"no phase is named {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)


def _is_phase(phase: Any) -> bool:
    if not isinstance(phase, list | tuple) or len(phase) != 2 or not isinstance(phase[0], str):
        return False
    passes = phase[1]
    return isinstance(passes, list | tuple) and all(
        isinstance(p, tvm.transform.Pass) for p in passes
    )


def _shown(phases: Any) -> str:
    """Name what is no list of phases, or the first that is no phase in a list."""
    if isinstance(phases, list | tuple):
        return f"a list with {next(p for p in phases if not _is_phase(p))!r:.80}"
    return f"{phases!r:.80}"


def c4n_pipeline(
    lanes: int,
    choose: Choose,
    *,
    lift: bool = False,
    convert: Convert = lossless,
    gpu: bool = False,
    dump: Path | None = None,
) -> Pipeline:
    """Return all phases of a build, from a Relax module to the virtual machine's instructions.

    Parameters
    ----------
    lanes : int
        MR: rows of a panel of repacked weights.
    choose : callable
        Answers an operator with its rule's name and kernel, see `BindSchedules`.
    lift : bool
        Whether constants become parameters.
    convert : callable
        Packs the weights of dense layers, see `RewriteDenseToC4n`.
    gpu : bool
        Kernels that are not C4n's get a grid by TVM's schedules, which do not understand kernels
        that read by index: layout elimination is left out, and shared regions.
    dump : Path, optional
        Folder that gets the module after each phase, and the report of `EliminateLayout` as
        ``layout.json``.
    """
    t = relax.transform
    report = None if dump is None else dump / "layout.json"
    phases: Phases = [
        ("dispatch", [relax.backend.DispatchSampling(), relax.backend.DispatchSortScan()]),
        ("rewrite", [t.FoldConstant(), RewriteDenseToC4n(convert)]),
        ("repack", [RepackWeights(lanes)]),
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
                ProtectKernels(),
                t.AnnotateTIROpPattern(),
                t.FoldConstant(),
                t.FuseOps(),
                t.FuseTIR(),
            ],
        ),
        ("grid", [_grids(), CheckGrids()]) if gpu else ("layout", [EliminateLayout(report)]),
        *([("lift", [LiftConstants()])] if lift else []),
        *lowering_phases(),
    ]
    return Pipeline.of(phases, dump)


def lowering_phases() -> Phases:
    """Return TVM's phases from Relax to the virtual machine's instructions, and one pass of ours.

    The first of them is "lower".
    """
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


def _grids() -> Pass:
    """Return TVM's schedules for kernels of a mobile GPU."""
    from tvm.s_tir.dlight import ApplyDefaultSchedule, gpu

    return ApplyDefaultSchedule(gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
