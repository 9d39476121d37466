"""Pictures from the raw samples: decode speed against model size, and the roofline."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Cell, Line, bandwidth_of, cells_of

_STYLES = {  # engine: colour, marker
    "tvm_c4n": ("#0a6e5c", "o"),
    "llama.cpp": ("#b3541e", "s"),
    "TVM": ("#6b6b6b", "^"),
}
_PEAK_ROOM = 1.6


def draw(lines: list[Line], max_others: float, folder: Path) -> list[Path]:
    """Draw what a log has: ``decode.png`` and ``roofline.png``.

    Returns
    -------
    list of Path
        The files.
    """
    threads = max((line["threads"] for line in lines if line["type"] == "sample"), default=0)
    cells = [
        cell
        for cell in cells_of(lines, max_others)
        if cell.threads == threads and cell.test.startswith("tg")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    if not cells:
        return []
    limit = bandwidth_of(lines, max_others)[threads][1]
    files = {"decode.png": _decode(cells), "roofline.png": _roofline(cells, limit)}
    for name, figure in files.items():
        figure.savefig(folder / name, dpi=130, bbox_inches="tight")
    return [folder / name for name in files]


def _decode(cells: list[Cell]) -> Figure:
    """Tokens per second against the model's size, a line for each row of more than one size."""
    figure = Figure(figsize=(8.5, 5))
    axes = figure.subplots()
    sizes = list(dict.fromkeys(cell.size for cell in cells))
    lengths = Counter(cell.row for cell in cells)
    cells = [cell for cell in cells if lengths[cell.row] > 1 or max(lengths.values()) == 1]
    for name in dict.fromkeys(cell.row for cell in cells):
        mine = [cell for cell in cells if cell.row == name]
        colour, marker = _STYLES[mine[0].engine]
        axes.plot(
            [sizes.index(cell.size) for cell in mine],
            [cell.rate for cell in mine],
            color=colour,
            marker=marker,
            linewidth=1,
        )
    _label_ends(axes, cells, sizes)
    axes.set_yscale("log")
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set_xlim(-0.3, len(sizes) - 0.2)
    axes.set_xlabel("model")
    axes.set_ylabel("tokens/s")
    axes.set_title(f"Decode, {cells[0].threads} threads", loc="left")
    _plain(axes)
    return figure


def _label_ends(axes: Axes, cells: list[Cell], sizes: list[str]) -> None:
    """Write each row's name beside its last point, pushed apart where they would overlap."""
    last = {cell.row: cell for cell in cells}  # cells are in order of size
    rates = [cell.rate for cell in cells]
    line = (max(rates) / min(rates)) ** (1 / 26)  # the height of a line of text on the log axis
    placed: list[float] = []
    for cell in sorted(last.values(), key=lambda c: c.rate):
        height = cell.rate
        if placed and height < placed[-1] * line:
            height = placed[-1] * line
        placed.append(height)
        axes.annotate(
            cell.row,
            (sizes.index(cell.size), cell.rate),
            (sizes.index(cell.size) + 0.08, height),
            fontsize=8,
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            color=_STYLES[cell.engine][0],
        )


def _roofline(cells: list[Cell], limit: float) -> Figure:
    """Tokens per second against bytes a token; the line is what the memory allows."""
    figure = Figure(figsize=(8.5, 5))
    axes = figure.subplots()
    sizes = [cell.weight_bytes / 1e6 for cell in cells]
    ends = [min(sizes) / _PEAK_ROOM, max(sizes) * _PEAK_ROOM]
    heights = [limit * 1e3 / end for end in ends]
    axes.plot(ends, heights, color="black", linewidth=1, label=f"memory: {limit:.1f} GB/s")
    for engine, (colour, marker) in _STYLES.items():
        mine = [cell for cell in cells if cell.engine == engine]
        axes.scatter(
            [cell.weight_bytes / 1e6 for cell in mine],
            [cell.rate for cell in mine],
            color=colour,
            marker=marker,
            s=28,
            label=engine if mine else None,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("MB of weights read a token")
    axes.set_ylabel("tokens/s")
    axes.set_title(f"Decode against the memory's limit, {cells[0].threads} threads", loc="left")
    axes.legend(frameon=False, loc="lower left")
    _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
