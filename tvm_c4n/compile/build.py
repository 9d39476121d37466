"""`build`: a Relax module to an executable of TVM's virtual machine, with C4n kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import schedules
from relay_passes.pipeline import Phases, Pipeline, c4n_pipeline, lowering_phases
from relay_passes.rewrite_dense_to_c4n import Convert, lossless
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.compile.convert import converter
from tvm_c4n.compile.kernel_selection import KernelSelector, selector
from tvm_c4n.compile.opencl import check_grids, check_operators
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import TargetError

if TYPE_CHECKING:
    from tvm_c4n.pruning.recipe import Recipe

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
    records: str | Path | None = None,
    debug_dump: str | Path | None = None,
) -> relax.VMExecutable:
    """Compile a Relax module; dense layers with C4n weights become sparse kernels.

    Parameters
    ----------
    mod : IRModule
        Its weights are constants, or given as `params`.
    target : str or tvm.target.Target
        ``"host"``, ``"arm64-linux"``, ``"arm64-android"``, a target of TVM, or ``"adreno"``, which
        is experimental (docs/guides/opencl.md).
    params : mapping, optional
        Values of parameters by name (tensors of TVM or numpy), bound in every function that has
        them, as `relax.build` does.
    recipe : Recipe, optional
        Prunes and quantises the dense layers that are not sparse yet; see
        `tvm_c4n.compile.convert.converter`. Without one, nothing changes a number.
    records : path, optional
        Folder of `tvm_c4n.tune` for this target; default: what the package has for it, if anything.
    debug_dump : path, optional
        Folder that gets the module after each phase, and ``layout.json``: which transposes, slices
        and copies there were, which went, which stay and why.

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
    select = selector(resolved, records)
    convert = converter(recipe)
    if params:
        mod = _bind(mod, params)
    select = select.for_weights_of(mod)
    phases = phases_for(select, lift=False, convert=convert, debug_dump=debug_dump)
    return generate(prepare(mod, select, phases), resolved, phases)


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


@relax.register_pipeline("c4n")  # type: ignore[untyped-decorator]
def pipeline(
    target: str | Target = "host",
    *,
    recipe: Recipe | None = None,
    extend: Callable[[Phases], Phases] | None = None,
    debug_dump: str | Path | None = None,
) -> tvm.transform.Pass:
    """Return the phases of `build` as one pass, for `relax.build` and `tvm.compile`.

    TVM knows it as ``relax.get_pipeline("c4n", target=...)`` once this module is imported.

    Parameters
    ----------
    target, recipe, debug_dump
        As for `build`; the target must be the one that is compiled for. Weights are always
        prefetched into the caches: nothing is known of them here.
    extend : callable
        Gets the phases, a list of (name, passes) in order, and returns the ones to run: passes can
        be put anywhere, or taken out.

    Examples
    --------
    >>> relax.build(mod, target, relax_pipeline=tvm_c4n.pipeline(target))
    """
    select = selector(resolve_target(target))
    phases = phases_for(select, lift=False, convert=converter(recipe), debug_dump=debug_dump)
    return (phases if extend is None else phases.extended(extend)).as_pass()


def phases_for(
    select: KernelSelector,
    *,
    lift: bool,
    convert: Convert = lossless,
    debug_dump: str | Path | None = None,
) -> Pipeline:
    """Return all phases of a build with the kernels of a selector; see `c4n_pipeline`."""
    dump = None if debug_dump is None else Path(debug_dump)
    return c4n_pipeline(
        select.isa.lanes, select, lift=lift, convert=convert, gpu=select.gpu, dump=dump
    )


def prepare(mod: IRModule, select: KernelSelector, phases: Pipeline) -> IRModule:
    """Run the phases that make C4n kernels: those before "lower".

    Raises
    ------
    TargetError
        What a GPU cannot run.
    """
    if select.gpu:
        check_operators(mod)
    with tvm.transform.PassContext(opt_level=3), select.target:
        mod = phases.until("lower")(mod)
    if select.gpu:
        check_grids(mod)
    return mod


def generate(mod: IRModule, target: Target, phases: Pipeline | None = None) -> relax.VMExecutable:
    """Lower a prepared module to an executable of the virtual machine.

    Parameters
    ----------
    mod : IRModule
    target : tvm.target.Target
    phases : Pipeline, optional
        The one that `prepare` had; of it runs what begins with "lower".
    """
    if phases is None:
        phases = Pipeline.of(lowering_phases())
    with tvm.transform.PassContext(opt_level=3), target:
        return relax.build(mod, target, relax_pipeline=phases.since("lower").as_pass())
