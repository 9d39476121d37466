"""`inspect --html`: one page that says what a model holds. It loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from tvm_c4n.errors import one_line
from tvm_c4n.inspect.details import Details, Roofline
from tvm_c4n.inspect.pictures import Axis, Cell, Series, chart, heat_map, number_text
from tvm_c4n.inspect.summary import ModelSummary
from tvm_c4n.sparsity import (
    INT_BITS,
    describe,
    describe_counts,
    describe_removed,
    short_removed,
    usual_removed,
)

_SHORT = {"float32": "f32", "bfloat16": "b16", "float16": "f16"} | {
    dtype: f"i{bits}" for dtype, bits in INT_BITS.items()
}
# Smaller errors are drawn at this one: a logarithmic axis has no zero.
_LEAST_ERROR = 1e-5
_UNITS = {
    "bytes": ("size, MB", 1e-6),
    "seconds": ("time by the table, ms", 1e3),
    "weights kept": ("projections' weights kept, millions", 1e-6),
}
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;
--n0:#eaeef2;--n1:#b6d7f2;--n2:#5aa5dd;--n3:#0b5394;--i0:#1b1f24;--i1:#1b1f24;--i2:#0b1d2b;--i3:#fff;
--c0:#0b69c7;--c1:#c2410c;--c2:#15803d;--c3:#7e22ce;--c4:#a16207;--c5:#be185d}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--ink:#e6edf3;--soft:#9aa4af;--line:#30363d;
--n0:#21262d;--n1:#1f4e79;--n2:#3b82c4;--n3:#a5d0ff;--i0:#e6edf3;--i1:#fff;--i2:#fff;--i3:#0d1117;
--c0:#58a6ff;--c1:#ff9a5c;--c2:#4ade80;--c3:#c58bff;--c4:#e3b341;--c5:#ff7eb6}}
body{margin:0 auto;padding:1.2rem 1rem 3rem;max-width:60rem;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.35rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:2rem 0 .4rem}
p{margin:.2rem 0;color:var(--soft);max-width:46rem}figure,.wide{margin:.6rem 0;overflow-x:auto}
table{border-collapse:collapse;white-space:nowrap}
td,th{padding:.2rem .8rem .2rem 0;text-align:right;font-weight:400}
th{color:var(--soft)}td:first-child,th:first-child{text-align:left}
tr+tr{border-top:1px solid var(--line)}
svg{display:block;font:12px system-ui,sans-serif}svg text{fill:var(--soft)}
svg.chart{width:100%;max-width:600px;min-width:340px;height:auto}svg line{stroke:var(--line)}
polyline{fill:none;stroke-width:2}.end{text-anchor:end}.mid{text-anchor:middle}.low{font-size:9px}
ul{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;margin:.3rem 0;padding:0}
li::before{content:"";display:inline-block;width:.8em;height:.8em;border-radius:2px;
margin-right:.4em;background:var(--k)}
"""
_STYLE += "".join(
    f".n{i} rect{{fill:var(--n{i})}}.n{i} text{{fill:var(--i{i})}}li.n{i}{{--k:var(--n{i})}}"
    for i in range(4)
)
_STYLE += "".join(
    f".s{i}{{stroke:var(--c{i})}}.d{i}{{fill:var(--c{i})}}li.k{i}{{--k:var(--c{i})}}"
    for i in range(6)
)
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
"""


def page(summary: ModelSummary, details: Details, roofline: Roofline) -> str:
    """Return the page of a model.

    Parameters
    ----------
    summary : ModelSummary
        Names in it may be a stranger's: whatever they say is shown, and does nothing.
    details : Details
    roofline : Roofline
    """
    name = _safe(summary.path.resolve().name)
    parts = [
        f"{_HEAD}<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>",
        _about(summary, details),
        _section("Weights", _table(summary)),
        _section("Weights removed of every 4", _map(summary, details)),
        _section("Relative error by layer", _errors(details)),
        _section("Pareto front", _front(details)),
        _section("Roofline", _roofline(roofline)),
    ]
    return "".join(parts) + "</body></html>\n"


def _safe(text: str) -> str:
    return escape(one_line(text))


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _about(summary: ModelSummary, details: Details) -> str:
    config = summary.config
    lines = [
        f"{summary.kind}, {config.model_type}: {config.n_layer} layers, hidden {config.d_model}, "
        f"vocabulary {config.vocab_size}; {summary.size_bytes / 1e6:.2f} MB of weights"
    ]
    if summary.made_for:
        lines.append(f"compiled for {summary.made_for}")
    if (report := details.report) is not None:
        recipe = report.recipe
        lines.append(
            f"pruned from {report.source} by {recipe.get('method')}, {recipe.get('dtype')}: "
            f"{report.source_bytes / 1e6:.2f} MB before"
        )
    return "".join(f"<p>{_safe(line)}</p>" for line in lines)


def _table(summary: ModelSummary) -> str:
    head = ("weight", "count", "pattern", "dtype", "size")
    rows = []
    for kind in summary.weights:
        pattern = describe_counts(kind.removed)
        size = f"{kind.size_bytes / 1e6:.2f} MB"
        rows.append((kind.kind, str(kind.count), pattern, ", ".join(sorted(kind.dtypes)), size))
    body = "".join(_cells("td", row) for row in rows)
    return f'<div class="wide"><table>{_cells("th", head)}{body}</table></div>'


def _cells(tag: str, texts: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_safe(text)}</{tag}>' for text in texts)}</tr>"


def _map(summary: ModelSummary, details: Details) -> str:
    cells = {}
    for matrix in details.matrices:
        said, usual = describe_removed(matrix.removed), usual_removed(matrix.removed)
        about = f"layer {matrix.layer}, {matrix.kind}: {said}, {matrix.dtype}, "
        about += f"{matrix.size_bytes / 1e6:.3f} MB"
        if (error := details.errors.get(matrix.name)) is not None:
            about += f", relative error {number_text(error)}"
        dtype = _SHORT.get(matrix.dtype, matrix.dtype[:3])
        cells[matrix.kind, matrix.layer] = Cell(usual, short_removed(matrix.removed), dtype, about)
    keys = "".join(f'<li class="n{n}">{escape(describe(n))}</li>' for n in range(4))
    rows = summary.config.projection_names()
    picture = heat_map(rows, summary.config.n_layer, cells)
    return f'<ul class="legend">{keys}</ul><figure>{picture}</figure>'


def _errors(details: Details) -> str:
    if not details.errors:
        return (
            "<p>No report.json is here. prune writes one; healing, compiling and dense exports "
            "leave it behind.</p>"
        )
    series = []
    for kind in dict.fromkeys(matrix.kind for matrix in details.matrices):
        points = [
            (float(m.layer), max(_LEAST_ERROR, details.errors[m.name]))
            for m in details.matrices
            if m.kind == kind and m.name in details.errors
        ]
        series.append(Series(kind, points))
    shown = [one for one in series if one.points]
    drawn = chart(shown, Axis("layer", whole=True), Axis("relative error", log=True))
    note = (
        "Of each projection's output on calibration text, squared; one-shot. Smaller ones than "
        f"{number_text(_LEAST_ERROR)} are drawn there."
    )
    return f"<p>{note}</p><figure>{drawn}</figure>"


def _front(details: Details) -> str:
    if (front := details.front) is None:
        return ""
    label, factor = _UNITS.get(front.unit, (one_line(front.unit), 1.0))
    least = 1e-2 * max(front.chosen.predicted_loss, 1e-9)

    def points(found: Sequence[object]) -> list[tuple[float, float]]:
        return [
            (p.cost * factor, p.predicted_loss)  # type: ignore[attr-defined]
            for p in found
            if p.predicted_loss >= least  # type: ignore[attr-defined]
        ]

    series = [Series("Pareto front", points(front.front), dots=False)]
    for name in ("chosen", "greedy", "uniform"):
        if (one := getattr(front, name)) is not None:
            series.append(Series(name, points([one]), line=False))
    shown = [one for one in series if one.points]
    if not shown:
        return ""
    drawn = chart(shown, Axis(label), Axis("predicted loss, nats per token", log=True))
    return f"<figure>{drawn}</figure>"


def _roofline(roofline: Roofline) -> str:
    moved = roofline.token_bytes / 1e6
    ends = [min(moved, roofline.dense_bytes / 1e6) / 2, max(moved, roofline.dense_bytes / 1e6) * 2]
    bandwidth = roofline.bandwidth / 1e6
    series = [
        Series("memory limit", [(end, bandwidth / end) for end in ends], dots=False),
        Series("this model", [(moved, bandwidth / moved)], line=False),
        Series(
            "float16, dense",
            [(roofline.dense_bytes / 1e6, roofline.bandwidth / roofline.dense_bytes)],
            line=False,
        ),
    ]
    said = (
        f"A token moves {moved:.2f} MB; {roofline.dense_bytes / 1e6:.2f} MB if dense in float16. "
        f"Memory of this machine reads {roofline.bandwidth / 1e9:.1f} GB/s: at most "
        f"{number_text(bandwidth / moved)} tokens/s, unless caches hold the model."
    )
    if roofline.tokens_per_sec:
        series.append(Series("measured", [(moved, roofline.tokens_per_sec)], line=False))
        said += f" Measured: {number_text(roofline.tokens_per_sec)} tokens/s."
    drawn = chart(series, Axis("MB per token", log=True), Axis("tokens/s", log=True))
    return f"<p>{said}</p><figure>{drawn}</figure>"
