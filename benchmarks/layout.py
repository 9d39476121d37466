"""Counts what only moves elements after TVM's pipeline and after ours.

    python -m benchmarks.layout [--removed 2] [NAME ...]

TVM's is the best of its passes for this: RemoveRedundantReshape, OptimizeLayoutTransform, then the
default pipeline of the CPU backend up to FuseTIR. ``kernels`` are calls of kernels that do nothing
but move elements; ``copies`` are such loop nests, those inside fused kernels included. Reshapes
that become views of the same bytes are in neither.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from relay_passes.layout_report import count_layout
from tests.zoo import ZOO
from tests.zoo.case import prune_torch
from tvm_c4n._tvm import IRModule, relax, tvm
from tvm_c4n.compile.build import phases_for, prepare
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.target import resolve_target

Counts = dict[str, int]


def tvm_counts(mod: IRModule) -> Counts:
    """Count after TVM's passes."""
    t, target = relax.transform, resolve_target("host")
    before = [t.RemoveRedundantReshape(), t.OptimizeLayoutTransform()]
    with tvm.transform.PassContext(opt_level=3), target:
        passes = [*before, *relax.pipeline.legalize_passes(target)]
        return count_layout(tvm.transform.Sequential(passes)(mod))


def our_counts(mod: IRModule) -> Counts:
    """Count after our phases."""
    with tempfile.TemporaryDirectory() as folder:
        select = selector(resolve_target("host"), mod=mod)
        phases = phases_for(select, lift=False, debug_dump=Path(folder))
        return count_layout(prepare(mod, select, phases))


def exported_mamba(removed: int) -> IRModule:
    """Transformers' MambaForCausalLM, its scan an operator, 64 tokens."""
    from transformers import AutoModelForCausalLM

    from tvm_c4n.assets import resolve
    from tvm_c4n.frontend.mamba import export_causal_lm

    model = AutoModelForCausalLM.from_pretrained(resolve("mamba-19m"), dtype=torch.float32)
    prune_torch(model, removed)
    return export_causal_lm(model, 64)


def own_mamba() -> IRModule:
    """Our Relax Mamba of the embedded model: step, prefill and score."""
    from tvm_c4n.checkpoint import open_checkpoint
    from tvm_c4n.model import MambaConfig
    from tvm_c4n.model.relax_mamba import build_mamba

    checkpoint = open_checkpoint("mamba-19m")
    return build_mamba(MambaConfig.from_hf(checkpoint.config), checkpoint)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--removed", type=int, default=0)
    arguments = parser.parse_args()
    removed = arguments.removed
    makers = {name: (lambda make=make: make(removed, False).mod) for name, make in ZOO.items()}
    makers["mamba-19m from transformers"] = lambda: exported_mamba(removed)
    makers["mamba-19m of our own"] = own_mamba
    print("| module | TVM: kernels | copies | ours: kernels | copies |\n|---|---:|---:|---:|---:|")
    for name in arguments.names or makers:
        mod = makers[name]()
        theirs, ours = tvm_counts(mod), our_counts(mod)
        cells = [theirs["kernels"], theirs["copies"], ours["kernels"], ours["copies"]]
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
