"""`build`: a Relax module to an executable of TVM's virtual machine, with C4n kernels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import schedules
from relay_passes.pipeline import c4n_phases, lowering_phases, sequence
from relay_passes.rewrite_dense_to_c4n import Convert, lossless
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.compile.convert import converter
from tvm_c4n.compile.records import open_records, shipped_for
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.isa import isa_of

if TYPE_CHECKING:
    from tvm_c4n.prune.recipe import Recipe

if getattr(schedules, "OWNER", None) != "tvm_c4n":
    raise TargetError(
        f"another package is imported as 'schedules' ({schedules.__file__}): "
        "pip uninstall schedules, then install tvm-c4n again"
    )


def build(
    mod: IRModule,
    target: str | Target = "host",
    *,
    params: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
    records: Path | None = None,
    debug_dump: Path | None = None,
) -> relax.VMExecutable:
    """Compile a Relax module; dense layers with C4n weights become sparse kernels.

    Parameters
    ----------
    mod : IRModule
        Its weights are constants, or given as `params`.
    target : str or tvm.target.Target
        ``"host"``, ``"arm64-linux"``, ``"arm64-android"`` or a target of TVM.
    params : mapping, optional
        Values of parameters by name (tensors of TVM or numpy), bound in every function that has
        them, as `relax.build` does.
    recipe : Recipe, optional
        Prunes and quantises the dense layers that are not sparse yet; see
        `tvm_c4n.compile.convert.converter`. Without one, nothing changes a number.
    records : Path, optional
        Folder of `tvm_c4n.tune` for this target; default: what the package has for it, if anything.
    debug_dump : Path, optional
        Folder that gets the module after each phase.

    Returns
    -------
    relax.VMExecutable
        For `relax.VirtualMachine`, or `export_library` with
        ``fcompile=tvm_c4n.compile.link.make_fcompile(triple)``.

    Raises
    ------
    TargetError
        Unknown target.
    RecipeError
        A recipe that a module cannot follow.
    TuneError
        Records of another machine.
    """
    resolved = resolve_target(target)
    tuned = tuned_for(resolved, records)
    convert = converter(recipe)
    if params:
        mod = _bind(mod, params)
    mod = prepare(mod, resolved, lift=False, convert=convert, tuned=tuned, debug_dump=debug_dump)
    return generate(mod, resolved, debug_dump=debug_dump)


def _bind(mod: IRModule, params: Mapping[str, Any]) -> IRModule:
    tensors = {
        name: tvm.runtime.tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in params.items()
    }
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function):
            names = {p.name for p in func.params}
            here = {name: tensor for name, tensor in tensors.items() if name in names}
            mod = relax.transform.BindParams(gvar.name_hint, here)(mod)
    return mod


def tuned_for(target: Target, records: Path | None) -> schedules.Tuned | None:
    """Return what was tuned for a target: in a folder, else in the package; None: nothing."""
    found = shipped_for(target) if records is None else open_records(records, target)
    return found.tuned() if found is not None else None


def prepare(
    mod: IRModule,
    target: Target,
    *,
    lift: bool,
    convert: Convert = lossless,
    tuned: schedules.Tuned | None = None,
    debug_dump: Path | None = None,
) -> IRModule:
    """Run the phases that make C4n kernels; see `relay_passes.pipeline.c4n_phases`."""
    isa = isa_of(target)
    choose = partial(schedules.choose, isa=isa, tuned=tuned)
    phases = c4n_phases(isa.lanes, choose, lift=lift, convert=convert)
    with tvm.transform.PassContext(opt_level=3), target:
        return sequence(phases, dump=debug_dump)(mod)


def generate(
    mod: IRModule, target: Target, *, debug_dump: Path | None = None
) -> relax.VMExecutable:
    """Lower a prepared module to an executable of the virtual machine."""
    after = len(c4n_phases(1, lambda _: None, lift=True)) + 1
    pipeline = sequence(lowering_phases(), dump=debug_dump, first=after)
    with tvm.transform.PassContext(opt_level=3), target:
        return relax.build(mod, target, relax_pipeline=pipeline)
