"""Pictures as SVG: a heat map and a chart. Colours are those of the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 26, 12, 44
_CELL, _ROW, _NAMES = 24, 34, 84
# Ticks of a linear axis, and of a logarithmic one that spans less than two decades.
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map.

    Attributes
    ----------
    level : int
        Its colour, 0 to 3.
    text, below : str
        In the cell, in two lines: a few characters each.
    about : str
        Shown while the pointer is on it.
    """

    level: int
    text: str
    below: str
    about: str


@dataclass(frozen=True)
class Series:
    """Points of a chart, in a colour of their own.

    Attributes
    ----------
    name : str
    points : sequence of (float, float)
    line, dots : bool
        How they are drawn.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    dots: bool = True


@dataclass(frozen=True)
class Axis:
    """A label, whether the axis is logarithmic, and whether its values are whole numbers."""

    label: str
    log: bool = False
    whole: bool = False


class _Scale:
    """Maps values to pixels."""

    def __init__(self, values: Sequence[float], axis: Axis, start: float, end: float) -> None:
        self.axis, self._start, self._end = axis, start, end
        low, high = min(values), max(values)
        if axis.log:
            self.ticks = _decades(low, high)
        else:
            self.ticks = _steps(low, high, 1.0 if axis.whole else 0.0)
        low, high = min(low, self.ticks[0]), max(high, self.ticks[-1])
        self._low, self._span = self._place(low), self._place(high) - self._place(low) or 1.0

    def __call__(self, value: float) -> float:
        share = (self._place(value) - self._low) / self._span
        return round(self._start + share * (self._end - self._start), 1)

    def _place(self, value: float) -> float:
        return log10(value) if self.axis.log else value


def heat_map(rows: Sequence[str], columns: int, cells: Mapping[tuple[str, int], Cell]) -> str:
    """Draw cells by row and column; places without a cell stay empty."""
    width, height = _NAMES + columns * _CELL + 4, len(rows) * _ROW + 36
    parts = []
    for line, name in enumerate(rows):
        y = line * _ROW
        parts.append(f'<text x="{_NAMES - 8}" y="{y + 20}" class="end">{escape(name)}</text>')
        for column in range(columns):
            if (cell := cells.get((name, column))) is None:
                continue
            x = _NAMES + column * _CELL
            middle = x + _CELL / 2 - 1
            parts.append(
                f'<g class="n{cell.level}"><title>{escape(cell.about)}</title>'
                f'<rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_ROW - 2}" rx="2"/>'
                f'<text x="{middle}" y="{y + 14}" class="mid">{escape(cell.text)}</text>'
                f'<text x="{middle}" y="{y + 26}" class="mid low">{escape(cell.below)}</text></g>'
            )
    base = len(rows) * _ROW + 14
    for column in range(0, columns, 1 + columns // 16):
        place = _NAMES + column * _CELL + _CELL / 2 - 1
        parts.append(f'<text x="{place}" y="{base}" class="mid">{column}</text>')
    middle = _NAMES + columns * _CELL / 2
    parts.append(f'<text x="{middle}" y="{base + 18}" class="mid">layer</text>')
    return _svg(width, height, parts, "map")


def chart(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Draw series of points with axes, and a legend above."""
    points = [point for each in series for point in each.points]
    across = _Scale([p[0] for p in points], x, _LEFT, WIDTH - _RIGHT)
    up = _Scale([p[1] for p in points], y, HEIGHT - _BOTTOM, _TOP)
    parts = _axes(across, up)
    for number, one in enumerate(series):
        places = [(across(px), up(py)) for px, py in one.points]
        if one.line and len(places) > 1:
            path = " ".join(f"{px},{py}" for px, py in places)
            parts.append(f'<polyline class="s{number % 6}" points="{path}"/>')
        if one.dots:
            for (px, py), (vx, vy) in zip(places, one.points, strict=True):
                about = escape(f"{one.name}: {number_text(vx)}, {number_text(vy)}")
                parts.append(
                    f'<circle class="d{number % 6}" cx="{px}" cy="{py}" r="4">'
                    f"<title>{about}</title></circle>"
                )
    keys = "".join(f'<li class="k{i % 6}">{escape(one.name)}</li>' for i, one in enumerate(series))
    return f'<ul class="legend">{keys}</ul>{_svg(WIDTH, HEIGHT, parts, "chart")}'


def number_text(value: float) -> str:
    """Write a number with three digits or so, and no exponent where a reader can do without."""
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.2g}"


def _axes(across: _Scale, up: _Scale) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick in across.ticks:
        px = across(tick)
        parts.append(f'<line x1="{px}" y1="{_TOP}" x2="{px}" y2="{bottom}"/>')
        parts.append(f'<text x="{px}" y="{bottom + 16}" class="mid">{number_text(tick)}</text>')
    for tick in up.ticks:
        py = up(tick)
        parts.append(f'<line x1="{_LEFT}" y1="{py}" x2="{right}" y2="{py}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{py + 4}" class="end">{number_text(tick)}</text>')
    middle, half = (_LEFT + right) / 2, (_TOP + bottom) / 2
    label_x, label_y = escape(across.axis.label), escape(up.axis.label)
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" class="mid">{label_x}</text>')
    turned = f'transform="rotate(-90 11 {half})"'
    parts.append(f'<text x="11" y="{half}" class="mid" {turned}>{label_y}</text>')
    return parts


def _steps(low: float, high: float, least: float) -> list[float]:
    """Return some five round numbers, `least` apart at least, that hold two between them."""
    rough = max((high - low) / 5 or abs(high) or 1.0, least)
    power = 10.0 ** floor(log10(rough))
    step = next(power * s for s in _STEPS if power * s >= rough)
    return [step * i for i in range(floor(low / step), ceil(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten that hold two values between them, or finer steps of a short range."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    if high / low >= 100:
        return [10.0**power for power in powers[:: 1 + len(powers) // 8]]
    fine = [step * 10.0**power for power in powers for step in _STEPS[:3]]
    below = max((tick for tick in fine if tick <= low), default=fine[0])
    above = min((tick for tick in fine if tick >= high), default=fine[-1])
    return [tick for tick in fine if below <= tick <= above]


def _svg(width: float, height: float, parts: Sequence[str], kind: str) -> str:
    # A wide map keeps its size, and is scrolled.
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'role="img">{"".join(parts)}</svg>'
    )
