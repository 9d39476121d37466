"""Tables from the raw samples: minimum, median, maximum, and what they say of the memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.shapes import SIZES

Line = dict[str, Any]


@dataclass
class Cell:
    """All samples of a row, a test and a number of threads."""

    engine: str
    size: str
    row: str
    test: str
    threads: int
    weight_bytes: int
    rates: list[float] = field(default_factory=list)
    """Tokens per second of the undisturbed samples."""
    disturbed: int = 0

    @property
    def rate(self) -> float:
        """Median tokens per second."""
        return median(self.rates)

    @property
    def gbs(self) -> float:
        """GB of weights read per second of decoding."""
        return self.rate * self.weight_bytes / 1e9


def cells_of(lines: list[Line], max_others: float) -> list[Cell]:
    """Group samples; those beside which others took more cores than `max_others` are only counted.

    Returns
    -------
    list of Cell
        By size, test, threads and row, as they came.
    """
    cells: dict[tuple[Any, ...], Cell] = {}
    for line in lines:
        if line["type"] != "sample":
            continue
        key = (line["size"], line["test"], line["threads"], line["row"])
        fields = ("engine", "size", "row", "test", "threads", "weight_bytes")
        cell = cells.setdefault(key, Cell(**{name: line[name] for name in fields}))
        cell.weight_bytes = line["weight_bytes"]
        if line["others"] > max_others:
            cell.disturbed += 1
        else:
            cell.rates.append(line["tokens"] / line["secs"])
    sizes = ["mamba-19m", *SIZES]
    found = [cell for cell in cells.values() if cell.rates]
    return sorted(found, key=lambda c: (sizes.index(c.size), c.test[:2], c.threads))


def bandwidth_of(lines: list[Line], max_others: float) -> dict[int, tuple[str, float]]:
    """Return by number of threads the best way of reading and its median GB/s."""
    ways: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["type"] == "bandwidth" and line["others"] <= max_others:
            for way, gbs in line["gbs"].items():
                ways[line["threads"]][way].append(gbs)
    return {
        count: max(((way, median(found)) for way, found in by_way.items()), key=lambda p: p[1])
        for count, by_way in ways.items()
    }


def tables(lines: list[Line], max_others: float) -> str:
    """Lay out a log as Markdown: a table for each size and test."""
    bandwidth = bandwidth_of(lines, max_others)
    parts = [_machine(lines, bandwidth)]
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells_of(lines, max_others):
        groups[cell.size, cell.test].append(cell)
    for (size, test), cells in groups.items():
        decode = test.startswith("tg")
        head = ["row", "threads", "weights MB", "n", "min", "median t/s", "max"]
        head += ["GB/s", "of limit"] if decode else []
        rows = []
        for c in sorted(cells, key=lambda c: (c.threads, -c.rate)):
            count = str(len(c.rates)) + (f" (-{c.disturbed})" if c.disturbed else "")
            row = [c.row, str(c.threads), f"{c.weight_bytes / 1e6:.1f}", count]
            row += [_rate(value) for value in (min(c.rates), c.rate, max(c.rates))]
            if decode:
                limit = bandwidth[c.threads][1]
                row += [f"{c.gbs:.1f}", f"{100 * c.gbs / limit:.0f} %"]
            rows.append(row)
        parts.append(f"**{size}, {test}**\n\n{markdown(head, rows)}")
    return "\n\n".join(parts)


def _machine(lines: list[Line], bandwidth: dict[int, tuple[str, float]]) -> str:
    run = next(line for line in reversed(lines) if line["type"] == "run")
    reads = ", ".join(
        f"{gbs:.1f} GB/s with {count} thread{'s' * (count > 1)} ({way})"
        for count, (way, gbs) in sorted(bandwidth.items())
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

    rules = [("-" * w if i == 0 else "-" * (w - 1) + ":") for i, w in enumerate(widths)]
    return "\n".join([line(head), line(rules), *map(line, rows)])


def load_table(lines: list[Line]) -> str:
    """Lay out load times and peak memory: medians."""
    groups: dict[tuple[str, str, int], list[Line]] = defaultdict(list)
    for line in lines:
        if line["type"] == "load":
            groups[line["size"], line["row"], line["n_prompt"]].append(line)
    head = ["row", "n", "weights MB", "load s", "first token s", "peak MB: loaded", "8 tokens"]
    head += ["prompt", "over the weights"]
    rows = []
    for (size, row, n_prompt), found in groups.items():

        def middle(name: str, found: list[Line] = found) -> float:
            return median(line[name] for line in found)

        peaks = [middle(f"{name}_bytes") for name in ("loaded", "stepped", "prefilled")]
        rows.append(
            [
                f"{size} {row}, prompt of {n_prompt}",
                str(len(found)),
                f"{middle('weight_bytes') / 1e6:.1f}",
                f"{middle('load_secs'):.3f}",
                f"{middle('first_token_secs'):.3f}",
                *(f"{peak / 1e6:.0f}" for peak in peaks),
                f"{(peaks[-1] - middle('weight_bytes')) / 1e6:+.0f}",
            ]
        )
    return markdown(head, rows)


def kernel_table(lines: list[Line]) -> str:
    """Lay out every kernel's microseconds and GB/s, the last profile of each model."""
    bandwidth = bandwidth_of(lines, max_others=99)
    profiles = {
        (line["size"], line["form"], line["threads"]): line
        for line in lines
        if line["type"] == "kernels"
    }
    rows = []
    for (size, form, threads), line in profiles.items():
        for stage in line["stages"]:
            speed = stage["size_bytes"] / 1e3 / stage["micros"] if stage["micros"] else 0.0
            rows.append(
                [
                    f"{size} {form} {stage['name']}",
                    str(threads),
                    str(stage["calls"]),
                    f"{stage['micros']:.1f}",
                    f"{100 * stage['micros'] / line['step']:.1f} %",
                    f"{speed:.1f}" if speed else "",
                    f"{speed / bandwidth[threads][1]:.2f}" if speed else "",
                ]
            )
        rest = line["step"] - sum(stage["micros"] for stage in line["stages"])
        share = f"{100 * rest / line['step']:.1f} %"
        rows.append([f"{size} {form} rest", str(threads), "", f"{rest:.1f}", share, "", ""])
        rows.append([f"{size} {form} step", str(threads), "", f"{line['step']:.1f}", "", "", ""])
    head = ["kernel", "threads", "calls", "us a step", "of step", "GB/s", "of bandwidth"]
    return markdown(head, rows)
