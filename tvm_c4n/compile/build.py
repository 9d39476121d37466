"""`build`: a Relax module to an executable of TVM's virtual machine, with C4n kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import schedules
from relay_passes.pipeline import Phases, Pipeline, c4n_pipeline, lowering_phases
from relay_passes.rewrite_dense_to_c4n import Convert, lossless
from relay_passes.take_chunks import TakeChunks
from tvm_c4n._tvm import IRModule, Target, register_kernel_pipeline, relax, tvm
from tvm_c4n.compile.bind_params import bind_params
from tvm_c4n.compile.convert import converter
from tvm_c4n.compile.kernel_selection import KernelSelector, selector
from tvm_c4n.compile.target import current_target, resolve_target
from tvm_c4n.errors import TargetError

if TYPE_CHECKING:
    from tvm_c4n.pruning.recipe import Recipe

if getattr(schedules, "OWNER", None) != "tvm_c4n":
    raise TargetError(
        f"another package is imported as 'schedules' ({schedules.__file__}): "
        "pip uninstall schedules, then install tvm-c4n again"
    )

# How TVM lowers kernels for CPUs, `TakeChunks` at its end.
KERNELS = "c4n"
register_kernel_pipeline(KERNELS, TakeChunks)


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
        them and that no other function of the module calls.
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
        ``fcompile=tvm_c4n.compile.link.make_fcompile(triple)``, which links for any machine.

    Raises
    ------
    TargetError
        Unknown target, or one that there are no kernels for.
    C4nError
        What `params` names is no parameter, or has another shape or dtype.
    RecipeError
        A recipe that a module cannot follow.
    TuneError
        Records of another machine.
    """
    resolved = resolve_target(target)
    select = selector(resolved, records)
    convert = converter(recipe)
    if params:
        mod = bind_params(mod, params)
    select = select.for_weights_of(mod)
    phases = phases_for(select, lift=False, convert=convert, debug_dump=debug_dump)
    return generate(prepare(mod, select, phases), resolved, phases)


def pipeline(
    target: str | Target | None = None,
    *,
    recipe: Recipe | None = None,
    extend: Callable[[Phases], Phases] | None = None,
    debug_dump: str | Path | None = None,
) -> tvm.transform.Pass:
    """Return the phases of `build` as one pass, for `relax.build` and `tvm.compile`.

    TVM knows it as ``relax_pipeline="c4n"`` and as ``relax.get_pipeline("c4n", ...)`` once both
    packages are imported. Kernels are those of TVM's current target, that is of the one that
    `relax.build` compiles for. With ``tir_pipeline="c4n"`` beside it, `relax.build` lowers kernels
    as `build` does, and threads take long loops in chunks (`TakeChunks`). Without it, TVM splits
    all loops evenly: chunks can only be made amid the lowering, which starts after this pass.

    Parameters
    ----------
    target : str or tvm.target.Target, optional
        As for `build`. Need not be given; if it is, another current target is an error.
    recipe, debug_dump
        As for `build`.
    extend : callable
        Gets the phases, a list of (name, passes) in order, and returns the ones to run: passes can
        be put anywhere, or taken out.

    Raises
    ------
    TargetError
        At once for an unknown target. When the pass runs: there is no current target, it is not
        `target`, or there are no kernels for it.
    C4nError
        When the pass runs: `extend` returns no list of phases.

    Examples
    --------
    >>> relax.build(mod, target, relax_pipeline=tvm_c4n.pipeline(), tir_pipeline="c4n")
    """
    given = None if target is None else resolve_target(target)
    convert = converter(recipe)

    @tvm.transform.module_pass(opt_level=0, name="c4n")  # type: ignore[untyped-decorator]
    def run(mod: IRModule, _ctx: Any) -> IRModule:
        select = selector(current_target(given), mod=mod)
        phases = phases_for(select, lift=False, convert=convert, debug_dump=debug_dump)
        return (phases if extend is None else phases.extended(extend))(mod)

    return run


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
    with tvm.transform.PassContext(opt_level=3), select.target:
        return phases.until("lower")(mod)


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
    # The pass writes LLVM's code; TVM can also write C.
    kernels = KERNELS if target.kind.name == "llvm" else "default"
    relax_pipeline = phases.since("lower").as_pass()
    with tvm.transform.PassContext(opt_level=3), target:
        return relax.build(mod, target, relax_pipeline=relax_pipeline, tir_pipeline=kernels)
