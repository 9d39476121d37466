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
from tvm_c4n.healing.judging import Judgement

if TYPE_CHECKING:
    from tvm_c4n.healing.run import HealReport

# Settings that `tvm-c4n heal` has no option for.
_NO_OPTION = ("warmup",)


def _row(name: str, judgement: Judgement) -> str:
    before, after = judgement.before, judgement.after
    return (
        f"| {one_line(name)} | {before.ratio:.4f} | {after.ratio:.4f} | {before.divergence:.4f} "
        f"| {after.divergence:.4f} |"
    )


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
    judged = {"held out": Judgement(report.before, report.after)} | report.judged
    parts = [
        f"{about_base(base)}, pruned to C4n (n of every 4 weights of a row removed) and healed: "
        "trained on to imitate the dense model, with the weights masked and rounded as they are "
        "stored here.",
        run_part(),
        f"## What was removed\n\n{weights_table(checkpoint)}\n\n"
        f"All tensors: {checkpoint.size_bytes / 1e6:.2f} MB.",
        "## What healing brought\n\n"
        "Perplexity over the dense model's, and divergence from it in nats per token. *Held out* "
        f"are {settings['held_out']} windows of {settings['window']} tokens of the training "
        "text:\n\n"
        "| text | pruned | healed | divergence, pruned | healed |\n|---|---:|---:|---:|---:|\n"
        + "\n".join(_row(name, each) for name, each in judged.items()),
        "## How it was made\n\n"
        f"{settings['tokens']} tokens of training, {report.text_tokens} of them different; "
        "`heal.json` has the settings.\n\n"
        f"```\ntvm-c4n heal {pruned} -o again --teacher {teacher} {files} {options}\n```",
    ]
    return model_card(base, checkpoint, ", pruned to C4n and healed", ["pruned", "sparsity"], parts)
