"""Count what only moves elements in modules of every frontend, after TVM's pipeline and after ours.

TVM's side is the best of its passes for this: RemoveRedundantReshape, OptimizeLayoutTransform, then
the default pipeline of the CPU backend up to FuseTIR. ``kernels`` are calls of kernels that do
nothing but move elements; ``copies`` are such loop nests, those inside fused kernels included.
Reshapes that become views of the same bytes are in neither.

    python -m tools.layout_counts [MODULE ...] [--removed N]

Needs the extra [dev]: the modules are those of tests/zoo.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.report import markdown
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.families import describe_model

Names = Annotated[list[str] | None, typer.Argument(help="Modules [all].")]


def main(names: Names = None, removed: int = 0) -> None:
    """Count kernels and copies that only move elements, after TVM's pipeline and after ours."""
    from tests.zoo import ZOO

    makers: dict[str, Callable[[], IRModule]] = {
        name: (lambda maker=maker: maker(removed, False).mod) for name, maker in ZOO.items()
    }
    makers["mamba-19m from transformers"] = lambda: _exported_mamba(removed)
    makers["mamba-19m of our own"] = _own_mamba
    rows = []
    for name in names or makers:
        mod = makers[name]()
        theirs, ours = _tvm_counts(mod), _our_counts(mod)
        counts = [theirs["kernels"], theirs["copies"], ours["kernels"], ours["copies"]]
        rows.append([name, *map(str, counts)])
    print(markdown(["module", "TVM: kernels", "copies", "ours: kernels", "copies"], rows))


def _tvm_counts(mod: IRModule) -> dict[str, int]:
    from relay_passes.layout_report import count_layout

    t, target = relax.transform, resolve_target("host")
    before = [t.RemoveRedundantReshape(), t.OptimizeLayoutTransform()]
    with tvm.transform.PassContext(opt_level=3), target:
        passes = [*before, *relax.pipeline.legalize_passes(target)]
        return count_layout(tvm.transform.Sequential(passes)(mod))


def _our_counts(mod: IRModule) -> dict[str, int]:
    from relay_passes.layout_report import count_layout

    with tempfile.TemporaryDirectory() as folder:
        select = selector(resolve_target("host"), mod=mod)
        phases = phases_for(select, lift=False, debug_dump=Path(folder))
        return count_layout(prepare(mod, select, phases))


def _exported_mamba(removed: int) -> IRModule:
    """Export transformers' MambaForCausalLM for 64 tokens, its scan an operator."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.zoo.case import prune_torch
    from tvm_c4n.assets import resolve
    from tvm_c4n.frontend.mamba import export_causal_lm

    model = AutoModelForCausalLM.from_pretrained(resolve("mamba-19m"), dtype=torch.float32)
    prune_torch(model, removed)
    return export_causal_lm(model, 64)


def _own_mamba() -> IRModule:
    """Return our Relax Mamba of the bundled model: step, prefill and score."""
    from tvm_c4n.checkpoint import open_checkpoint
    from tvm_c4n.model.relax_model import build_model

    checkpoint = open_checkpoint("mamba-19m")
    return build_model(describe_model(checkpoint.config), checkpoint)


if __name__ == "__main__":
    typer.run(main)
