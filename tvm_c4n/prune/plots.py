"""Pictures of an allocation: the Pareto front, and n by layer and projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tvm_c4n.model.config import PROJECTIONS, MambaConfig
from tvm_c4n.prune.allot import Allotment

_SCALES = {
    "sparsity": (1e-6, "weights kept (millions)"),
    "size": (1e-6, "size (MB)"),
    "latency": (1e3, "milliseconds a token"),
    "ppl_ratio": (1e-6, "size (MB)"),
}


def draw(allotment: Allotment, config: MambaConfig, folder: Path) -> bool:
    """Write ``front.png`` and ``removed.png``; returns False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    scale, label = _SCALES[allotment.target.kind]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    front = allotment.front
    axes.plot((front.cost + allotment.fixed) * scale, front.loss, color="0.3", label="exact front")
    for name, one, mark in (
        ("chosen", allotment.chosen, "o"),
        ("greedy", allotment.greedy, "x"),
        ("uniform", allotment.uniform, "s"),
    ):
        if one is not None:
            axes.plot((one.cost + allotment.fixed) * scale, one.loss, mark, label=name)
    axes.set(xlabel=label, ylabel="predicted loss (nats a token)", yscale="log")
    axes.legend()
    figure.savefig(folder / "front.png", dpi=150)

    choices = allotment.chosen.choices
    table = np.array(
        [
            [choices[config.projection(layer, p)].removed for layer in range(config.layers)]
            for p in PROJECTIONS
        ]
    )
    figure = Figure(figsize=(max(4.0, 0.35 * config.layers + 2), 2.2), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(table, vmin=0, vmax=3, cmap="viridis", aspect="auto")
    for (row, layer), removed in np.ndenumerate(table):
        ink = "k" if removed == 3 else "w"  # on yellow
        axes.text(layer, row, str(removed), ha="center", va="center", color=ink, fontsize=7)
    axes.set_yticks(range(len(PROJECTIONS)), PROJECTIONS)
    axes.set(xlabel="layer", title="n of every 4 weights removed")
    figure.colorbar(picture, ticks=range(4))
    figure.savefig(folder / "removed.png", dpi=150)
    return True
