"""The model card of a healed folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_c4n.checkpoint import C4nCheckpoint
from tvm_c4n.checkpoint.model_card import (
    Base,
    about_base,
    model_card,
    run_part,
    weights_table,
)
from tvm_c4n.errors import one_line

if TYPE_CHECKING:
    from tvm_c4n.healing.run import HealReport

# Settings that `tvm-c4n heal` has no option for.
_NO_OPTION = ("warmup",)


def healing_card(
    report: HealReport, base: Base, checkpoint: C4nCheckpoint, data: Sequence[str | Path]
) -> str:
    """Write the card of a healed model.

    Parameters
    ----------
    report : HealReport
    base : Base
        The dense model.
    checkpoint : C4nCheckpoint
        What was written.
    data : sequence of path
        The training text.
    """
    settings = report.settings
    options = " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in settings.items()
        if name not in _NO_OPTION
    )
    files = " ".join(f"--data {shlex.quote(one_line(Path(file).name))}" for file in data)
    pruned, teacher = (shlex.quote(one_line(name)) for name in (report.pruned, base.argument))
    before, after = report.before, report.after
    parts = [
        f"{about_base(base)}, pruned to C4n (n of every 4 weights of a row removed) and healed: "
        "trained on to imitate the dense model, with the weights masked and rounded as they are "
        "stored here.",
        run_part(),
        f"## What was removed\n\n{weights_table(checkpoint)}\n\n"
        f"All tensors: {checkpoint.size_bytes / 1e6:.2f} MB.",
        "## What healing brought\n\n"
        f"On {settings['held_out']} held-out windows of {settings['window']} tokens of the "
        "training text; the ratio is perplexity over the dense model's:\n\n"
        "| | ratio | divergence, nats per token |\n|---|---:|---:|\n"
        f"| pruned | {before.ratio:.4f} | {before.divergence:.4f} |\n"
        f"| healed | {after.ratio:.4f} | {after.divergence:.4f} |",
        "## How it was made\n\n"
        f"{settings['tokens']} tokens of training, {report.text_tokens} of them different; "
        "`heal.json` has the settings.\n\n"
        f"```\ntvm-c4n heal {pruned} -o again --teacher {teacher} {files} {options}\n```",
    ]
    return model_card(base, checkpoint, ", pruned to C4n and healed", ["pruned", "sparsity"], parts)
