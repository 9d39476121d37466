"""Pictures of an allocation: the Pareto front, and n by layer and projection."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.allocation.pareto import Allocation
from tvm_c4n.pruning.allocation.selection import AllocationResult
from tvm_c4n.sparsity import GROUP, INT_BITS, short_removed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# For each kind of budget: factor, name of the cost, and how one cost is written.
_SCALES = {
    "sparsity": (1e-6, "projection weights kept (millions)", "{:.2f} M kept"),
    "size": (1e-6, "size (MB)", "{:.2f} MB"),
    "latency": (1e3, "time by the table (ms)", "{:.3f} ms"),
    "ppl_ratio": (1e-6, "size (MB)", "{:.2f} MB"),
}
# Losses below this share of the chosen one are not drawn: a logarithmic axis would give most of the
# picture to allocations that lose next to nothing.
_SHOWN = 1e-2
_COLOURS = ("#f2f2f2", "#c6dbef", "#6baed6", "#08519c")  # n = 0, 1, 2, 3
_SHORT = {"float32": "f32", "float16": "f16"} | {dtype: f"i{INT_BITS[dtype]}" for dtype in INT_BITS}


def draw(result: AllocationResult, config: ModelConfig, folder: Path) -> bool:
    """Write ``front.png`` and ``removed.png``; returns False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    _draw_front(figure, result)
    _save(figure, folder / "front.png")
    width = max(5.0, 0.42 * config.n_layer + 1.6)
    figure = Figure(figsize=(width, 2.6), layout="constrained")
    _draw_removed(figure, result, config)
    _save(figure, folder / "removed.png")
    return True


def _save(figure: Figure, file: Path) -> None:
    picture = BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    write_atomically(file, picture.getvalue())


def _draw_front(figure: Figure, result: AllocationResult) -> None:
    scale, label, written = _SCALES[result.budget.kind]
    axes = figure.subplots()
    front = result.front
    least = _SHOWN * max(result.chosen.loss, float(front.loss[-1]), 1e-9)
    shown = front.loss >= least
    cost = (front.cost[shown] + result.fixed) * scale
    axes.plot(cost, front.loss[shown], color="#08519c", lw=1.5, label="Pareto front", zorder=2)
    styles: dict[str, tuple[Allocation | None, dict[str, Any]]] = {
        "chosen": (result.chosen, {"marker": "o", "ms": 7, "color": "#08519c"}),
        "greedy": (result.greedy, {"marker": "x", "ms": 10, "mew": 2, "color": "#d95f02"}),
        "uniform": (result.uniform, {"marker": "s", "ms": 7, "color": "#7a7a7a"}),
    }
    for name, (one, style) in styles.items():
        if one is not None:
            at = (one.cost + result.fixed) * scale
            told = f"{name}: {written.format(at)}, {one.loss:.4f}"
            axes.plot([at], [one.loss], ls="none", label=told, zorder=3, **style)
    # A budget that takes nothing loses nothing, which a logarithmic axis cannot show.
    yscale = "log" if front.loss.max() > 0 else "linear"
    axes.set(xlabel=label, ylabel="predicted loss (nats per token)", yscale=yscale)
    axes.grid(which="both", color="#dddddd", lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    exact = "exact" if not front.gap else f"at most {front.gap:.1g} nats from exact"
    axes.set_title(f"loss against cost, best allocations ({exact})", fontsize=10)
    axes.legend(frameon=False, fontsize=9)


def _draw_removed(figure: Figure, result: AllocationResult, config: ModelConfig) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    names = config.projection_names()
    choices = {
        (names.index(p.name), layer): result.chosen.choices[p.weight]
        for layer in range(config.n_layer)
        for p in config.projections(layer).values()
    }
    table = np.full((len(names), config.n_layer), np.nan)  # a layer need not have all
    mixed = len({choice.dtype for choice in choices.values()}) > 1
    axes = figure.subplots()
    for (row, layer), choice in choices.items():
        table[row, layer] = choice.removed
        said = short_removed(choice.pattern)
        text = f"{said}\n{_SHORT[choice.dtype]}" if mixed else said
        ink = "white" if choice.removed == GROUP - 1 else "black"
        axes.text(layer, row, text, ha="center", va="center", color=ink, fontsize=7)
    axes.imshow(table, vmin=0, vmax=GROUP - 1, cmap=ListedColormap(_COLOURS), aspect="auto")
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(0, config.n_layer, 1 + config.n_layer // 24))
    axes.set_xticks(np.arange(config.n_layer + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="layer")
    labels = [f"n={n}: {100 * (GROUP - n) // GROUP} % kept" for n in range(GROUP)]
    patches = [Patch(fc=c, ec="#999999", label=n) for c, n in zip(_COLOURS, labels, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=GROUP, frameon=False)
