"""The model card of a pruned folder."""

from __future__ import annotations

import shlex

from tvm_c4n.checkpoint import C4nCheckpoint
from tvm_c4n.checkpoint.model_card import (
    Base,
    about_base,
    model_card,
    quoted,
    run_part,
    weights_table,
)
from tvm_c4n.errors import one_line
from tvm_c4n.pruning.report import Report


def pruning_card(
    report: Report, base: Base, checkpoint: C4nCheckpoint, *, own_text: bool, dense_export: bool
) -> str:
    """Write the card of a pruned model.

    Parameters
    ----------
    report : Report
    base : Base
        The model that was pruned.
    checkpoint : C4nCheckpoint
        What was written.
    own_text : bool
        Whether the user gave the calibration text.
    dense_export : bool
        Whether ``dense`` lies beside the card.
    """
    recipe = report.recipe
    kinds = dict.fromkeys(row.projection for row in report.projections)
    errors = {kind: report.mean_error(kind) for kind in kinds}
    text = " --calibration TEXT" if own_text else ""
    dense = "\n`dense` is the same model as an ordinary Hugging Face folder, zeros included."
    trained = "one-shot: nothing was trained afterwards"
    if report.repairs:
        trained = (
            f"then each layer trained on {recipe['repair']} windows of the calibration text, "
            "towards the base's, masks fixed"
        )
    before = " before this training" if report.repairs else ""
    parts = [
        f"{about_base(base)}, with n of every 4 weights of a row removed where the table says so, "
        f"{trained}. The weights are in C4n's format "
        f"(`c4n.json`, `model.safetensors`).{dense if dense_export else ''}",
        run_part(),
        "## What was removed\n\n"
        f"{weights_table(checkpoint, errors)}\n\n"
        f"The relative error{before} is `||(W - W') X||^2 / ||W X||^2` on calibration text, the "
        "mean of the layers; of a model that was only rounded, `||W - W'||^2 / ||W||^2`.\n\n"
        f"All tensors: {report.source_bytes / 1e6:.2f} MB of the base, "
        f"{report.packed_bytes / 1e6:.2f} MB here.",
        "## How it was made\n\n"
        f"Method `{recipe['method']}`, {recipe['samples']} calibration windows of "
        f"{recipe['sample_tokens']} tokens of {quoted(report.calibration)}, seed {recipe['seed']}. "
        "`report.json` has the recipe; in this folder, this makes the model again:\n\n"
        f"```\ntvm-c4n prune {shlex.quote(one_line(base.argument))} -o again --recipe report.json"
        f"{text}\n```",
    ]
    return model_card(base, checkpoint, ", pruned to C4n", ["pruned", "sparsity"], parts)
