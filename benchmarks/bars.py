"""The bars that decode and prefill are held to, worked out from the samples."""

from __future__ import annotations

from benchmarks.report import Cell, Line, bandwidth_of, cells_of, markdown

LIMIT_ROWS = ("C4n int8 n=2", "C4n int4 n=2", "C4n int4 n=3")
LIMITS = {"130m": 0.70, "370m": 0.85, "1.4b": 0.85}
"""By size: decode at two threads as a fraction of bandwidth / bytes read per token, at least."""

RATIOS = [
    ("C4n int4 n=2", "llama.cpp F16", 7.0),
    ("C4n int4 n=2", "llama.cpp Q4_0", 3.0),
    ("C4n int4 n=3", "llama.cpp F16", 11.0),
    ("C4n int4 n=3", "llama.cpp Q4_0", 4.5),
    ("C4n int8 n=2", "llama.cpp F16", 4.0),
    ("C4n int8 n=2", "llama.cpp Q8_0", 2.5),
    ("C4n int4 dense", "llama.cpp Q4_0", 1.8),
]
"""Decode against a peer at two threads, at least; 0.8 of it at one."""

SMALL_RATIOS = [
    ("C4n int4 n=2", "llama.cpp F16", 6.0),
    ("C4n int4 n=2", "llama.cpp Q4_0", 4.5),
]
"""The same on the default model."""

PREFILL = 4.0
"""Prefill of 512 tokens against llama.cpp's best type, at least."""


ALLOWED = "at the memory's speed"
"""Column: what a ratio would be if our weights came exactly as fast as memory can be read. A bar
above it is out of reach, except for weights that stay in a cache."""


def bars(lines: list[Line], max_others: float) -> str:
    """Lay out every bar whose rows were measured; an empty text where there is none."""
    cells, bandwidth = cells_of(lines, max_others), bandwidth_of(lines, max_others)
    rows = _limits(cells, bandwidth) + _ratios(cells, bandwidth) + _prefill(cells)
    head = ["bar", "threads", "wanted", "measured", "met", ALLOWED]
    return markdown(head, rows) if rows else ""


def _row(
    what: str, threads: int, wanted: float, found: float, form: str, allowed: float | None = None
) -> list[str]:
    row = [what, str(threads), form.format(wanted), form.format(found), _met(found, wanted)]
    return [*row, "" if allowed is None else form.format(allowed)]


def _met(found: float, wanted: float) -> str:
    return "yes" if found >= wanted else "no"


def _limits(cells: list[Cell], bandwidth: dict[int, tuple[str, float]]) -> list[list[str]]:
    return [
        _row(f"{c.size} {c.row}, of limit", 2, LIMITS[c.size], c.gbs / bandwidth[2][1], "{:.2f}")
        for c in cells
        if c.threads == 2 and c.test[:2] == "tg" and c.size in LIMITS and c.row in LIMIT_ROWS
    ]


def _ratios(cells: list[Cell], bandwidth: dict[int, tuple[str, float]]) -> list[list[str]]:
    decode = {(c.size, c.threads, c.row): c for c in cells if c.test[:2] == "tg"}
    rows = []
    for size, threads in dict.fromkeys((c.size, c.threads) for c in cells):
        for ours, theirs, wanted in SMALL_RATIOS if size == "mamba-19m" else RATIOS:
            mine, peer = (decode.get((size, threads, row)) for row in (ours, theirs))
            if mine and peer:
                wanted_here = wanted if threads > 1 else 0.8 * wanted
                what = f"{size} {ours} / {theirs}"
                ratio = mine.rate / peer.rate
                allowed = None
                if threads in bandwidth and mine.gbs:
                    allowed = ratio * bandwidth[threads][1] / mine.gbs
                rows.append(_row(what, threads, wanted_here, ratio, "{:.1f}", allowed))
    return rows


def _prefill(cells: list[Cell]) -> list[list[str]]:
    rows = []
    read = [c for c in cells if c.test[:2] == "pp"]
    for size, threads, test in dict.fromkeys((c.size, c.threads, c.test) for c in read):
        here = [c for c in read if (c.size, c.threads, c.test) == (size, threads, test)]
        peers = [c.rate for c in here if c.engine == "llama.cpp"]
        for c in here:
            if peers and c.row in (*LIMIT_ROWS, "C4n int4 dense"):
                what = f"{size} {c.row} {test} / llama.cpp's best type"
                rows.append(_row(what, threads, PREFILL, c.rate / max(peers), "{:.1f}"))
    return rows
