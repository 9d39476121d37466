"""`build`: a Relax module to an executable of TVM's virtual machine, with C4n kernels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import schedules
from relay_passes.pipeline import c4n_phases, lowering_phases, sequence
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TargetError
from tvm_c4n.ops.isa import isa_of

if getattr(schedules, "OWNER", None) != "tvm_c4n":
    raise TargetError(
        f"another package is imported as 'schedules' ({schedules.__file__}): "
        "pip uninstall schedules, then install tvm-c4n again"
    )


def build(
    mod: IRModule, target: str | Target = "host", *, debug_dump: Path | None = None
) -> relax.VMExecutable:
    """Compile a Relax module; dense layers with C4n weights become sparse kernels.

    Parameters
    ----------
    mod : IRModule
        Weights are constants of its functions.
    target : str or tvm.target.Target
        ``"host"``, ``"arm64-linux"``, ``"arm64-android"`` or a target of TVM.
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
    """
    resolved = resolve_target(target)
    mod = prepare(mod, resolved, lift=False, debug_dump=debug_dump)
    return generate(mod, resolved, debug_dump=debug_dump)


def prepare(
    mod: IRModule, target: Target, *, lift: bool, debug_dump: Path | None = None
) -> IRModule:
    """Run the phases that make C4n kernels; see `relay_passes.pipeline.c4n_phases`."""
    isa = isa_of(target)
    phases = c4n_phases(isa.lanes, partial(schedules.choose, isa=isa), lift=lift)
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
