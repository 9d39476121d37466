"""Tables from raw samples: median, spread, part of the memory limit, ratio to llama.cpp."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.interleaved import Line

# Ratios are given to these contenders of the same size, test and number of threads.
BASELINES = ("llama.cpp Q4_0", "llama.cpp Q8_0", "llama.cpp F16")


@dataclass
class Cell:
    """All samples of a contender, a test and a number of threads.

    Attributes
    ----------
    rates : list of float
        Tokens per second of the undisturbed samples.
    disturbed : int
        How many samples were left out.
    """

    engine: str
    size: str
    row: str
    test: str
    threads: int
    weight_bytes: int
    token_bytes: int
    rates: list[float] = field(default_factory=list)
    disturbed: int = 0

    @property
    def rate(self) -> float:
        """Median tokens per second."""
        return median(self.rates)

    @property
    def gbs(self) -> float:
        """GB of weights and states moved per second of decoding."""
        return self.rate * self.token_bytes / 1e9


def cells_of(lines: list[Line], max_others: float) -> list[Cell]:
    """Group samples; those beside which others took more cores than `max_others` are only counted.

    Returns
    -------
    list of Cell
        By size, the smallest first, test, threads and contender.
    """
    cells: dict[tuple[Any, ...], Cell] = {}
    for line in lines:
        if line["type"] != "sample":
            continue
        key = (line["size"], line["test"], line["threads"], line["row"])
        fields = ("engine", "size", "row", "test", "threads", "weight_bytes")
        moved = line.get("token_bytes", line["weight_bytes"])  # logs of before states counted
        cell = cells.setdefault(key, Cell(**{f: line[f] for f in fields}, token_bytes=moved))
        if line["others"] > max_others:
            cell.disturbed += 1
        else:
            cell.rates.append(line["tokens"] / line["secs"])
    found = [cell for cell in cells.values() if cell.rates]
    ascending = sorted(found, key=lambda c: c.weight_bytes)
    largest = {cell.size: cell.weight_bytes for cell in ascending}
    return sorted(found, key=lambda c: (largest[c.size], c.test[:2], c.threads))


def bandwidth_of(lines: list[Line], max_others: float) -> dict[int, tuple[str, float]]:
    """Return by number of threads the fastest read method and its median GB/s."""
    methods: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["type"] == "bandwidth" and line["others"] <= max_others:
            for method, gbs in line["gbs"].items():
                methods[line["threads"]][method].append(gbs)
    return {
        count: max(((name, median(found)) for name, found in named.items()), key=lambda p: p[1])
        for count, named in methods.items()
    }


def tables(lines: list[Line], max_others: float, threads: list[int] | None = None) -> str:
    """Lay out logs as Markdown: a table of generation and one of prompts.

    Parameters
    ----------
    lines : list of dict
    max_others : float
        Cores that others may take beside a sample that counts.
    threads : list of int, optional
        Only these numbers of threads.
    """
    bandwidth = bandwidth_of(lines, max_others)
    cells = [c for c in cells_of(lines, max_others) if not threads or c.threads in threads]
    parts = [_machine(lines, bandwidth)]
    for kind, title in (("tg", "Generation"), ("pp", "Prompt processing")):
        if found := [cell for cell in cells if cell.test.startswith(kind)]:
            parts.append(f"**{title}**\n\n{table(found, bandwidth)}")
    return "\n\n".join(parts)


def table(cells: list[Cell], bandwidth: dict[int, tuple[str, float]]) -> str:
    """Lay out cells, those of generation with their part of the bandwidth where it is known."""
    groups: dict[tuple[str, str, int], dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        groups[cell.size, cell.test, cell.threads][cell.row] = cell
    decode = bool(bandwidth) and cells[0].test.startswith("tg")
    against = [name for name in BASELINES if any(name in group for group in groups.values())]
    head = ["model, test", "threads", "MB", "n", "t/s", "min to max"]
    head += ["of limit"] if decode else []
    head += [f"x {name.removeprefix('llama.cpp ')}" for name in against]
    rows = []
    for (size, test, count), group in groups.items():
        for cell in sorted(group.values(), key=lambda c: -c.rate):
            number = str(len(cell.rates)) + f" (-{cell.disturbed})" * bool(cell.disturbed)
            spread = f"{_rate(min(cell.rates))} to {_rate(max(cell.rates))}"
            row = [f"{size} {test}, {cell.row}", str(count), f"{cell.weight_bytes / 1e6:.1f}"]
            row += [number, _rate(cell.rate), spread]
            if decode:
                row.append(f"{100 * cell.gbs / bandwidth[count][1]:.0f} %")
            for name in against:
                peer = group.get(name) if cell.engine != "llama.cpp" else None
                row.append(f"{cell.rate / peer.rate:.1f}" if peer else "")
            rows.append(row)
    return markdown(head, rows)


def _machine(lines: list[Line], bandwidth: dict[int, tuple[str, float]]) -> str:
    run = next(line for line in reversed(lines) if line["type"] == "run")
    reads = ", ".join(
        f"{gbs:.1f} GB/s with {count} thread{'s' * (count > 1)} ({method})"
        for count, (method, gbs) in sorted(bandwidth.items())
    )
    return f"{run['cpu']}, {run['cores']} cores, {run['time'][:10]}. Memory reads {reads}."


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Lay out a table; the first column is text, the others are figures."""
    widths = [max(3, *(len(row[i]) for row in [head, *rows])) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w)
            for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rules = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(head), f"| {' | '.join(rules)} |", *(line(row) for row in rows)])
