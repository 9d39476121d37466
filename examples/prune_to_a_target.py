"""Prune a model to a size: `python examples/prune_to_a_target.py [MODEL] [OUT] [FRACTION]`.

OUT gets a C4n folder of at most FRACTION of MODEL's bytes; which weights lose how much follows from
what they do to calibration text. Needs torch: `pip install 'tvm-c4n[prune]'`. With mamba-19m and
the few windows of text that it takes here, minutes; more text (`samples`) makes a better model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tvm_c4n
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.pruning import Budget


def main(name: str = "mamba-19m", out: str = "pruned", fraction: str = "0.3") -> None:
    """Prune, and say what became of each kind of weight."""
    limit_bytes = int(float(fraction) * open_checkpoint(name).size_bytes)
    # How much text, and what else is fixed; n and dtype of each weight are the budget's to choose.
    recipe = tvm_c4n.Recipe(samples=8, sample_tokens=128)
    report = tvm_c4n.prune(
        name, out, recipe, budget=Budget("size", limit_bytes), dense_export=False
    )
    print(f"at most {limit_bytes} bytes: {report.packed_bytes} of {report.source_bytes}")
    for projection in report.projections:
        print(f"{projection.name}: n={projection.removed} {projection.dtype}")
    with tvm_c4n.Model(Path(out).resolve()) as model:
        print(model)
        # From an empty prompt a model begins a text of its own.
        print(model.generate(max_tokens=32, temperature=0.8, seed=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
