"""`build`: a Relax module to an executable of TVM's virtual machine, with C4n kernels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import schedules
from relay_passes import c4n_pipeline
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
    return lower(mod, resolve_target(target), lift=False, debug_dump=debug_dump)


def lower(
    mod: IRModule, target: Target, *, lift: bool, debug_dump: Path | None = None
) -> relax.VMExecutable:
    """Run the pipeline and TVM's code generation; see `relay_passes.pipeline` for `lift`."""
    isa = isa_of(target)
    pipeline = c4n_pipeline(isa.lanes, partial(schedules.choose, isa=isa), lift=lift, dump=debug_dump)
    with tvm.transform.PassContext(opt_level=3), target:
        return relax.build(mod, target, relax_pipeline=pipeline)
