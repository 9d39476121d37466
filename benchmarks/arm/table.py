"""Tables of what was counted on the emulated Arm core."""

from __future__ import annotations

from typing import Any

from benchmarks.arm.mca import CORES
from benchmarks.report import markdown

Row = dict[str, Any]

# Instructions are given as a part of those of this build of ggml.
_AGAINST = ("llama.cpp Q4_0", "dotprod")
_BOUND_CORES = ("cortex-a78", "cortex-x3")


def tables(result: dict[str, Any]) -> str:
    """Lay out a result of `python -m benchmarks arm` as Markdown."""
    rows = result["rows"]
    base = next((r["insns"] for r in rows if (r["row"], r["level"]) == _AGAINST), None)
    parts = [
        f"{result['size']}, one token, one thread; qemu {result['qemu']}, LLVM {result['llvm']}",
        _totals(rows, base),
    ]
    for row in rows:
        if row["engine"] == "tvm_c4n":
            parts.append(f"**{row['row']}: instructions by kernel**\n\n{_stages(row)}")
        elif (row["row"], row["level"]) == _AGAINST:
            parts.append(f"**{row['row']}, {row['level']}: by function**\n\n{_functions(row)}")
    return "\n\n".join(parts)


def _totals(rows: list[Row], base: int | None) -> str:
    head = ["row", "code for", "million insns", "of Q4_0 dotprod"]
    lines = []
    for row in rows:
        part = row["insns"] / base if base else 0.0
        millions = f"{row['insns'] / 1e6:.2f}"
        part_text = f"{part:.3f}" if base else ""
        lines.append([row["row"], row["level"], millions, part_text])
    return markdown(head, lines)


def _stages(row: Row) -> str:
    head = ["kernel", "calls", "insns per call", "M per token", "loop", "dots", "loads", "spills"]
    head += [f"{core.removeprefix('cortex-')} cycles" for core in CORES]
    head += ["x3 own bound", "a78 / dots+loads", "x3 / dots+loads"]
    lines = []
    for stage in row["stages"]:
        calls = stage.get("calls", 0)
        each = f"{stage['insns'] / calls:.0f}" if calls else ""
        line = [stage["name"], str(calls or ""), each, f"{stage['insns'] / 1e6:.2f}"]
        loop = stage.get("loop")
        if loop is None:
            lines.append(line + [""] * (len(head) - len(line)))
            continue
        line += [str(loop[key]) for key in ("insns", "dots", "loads", "spills")]
        line += [f"{loop['cores'][core]['cycles']:.1f}" for core in CORES]
        line.append(f"{loop['cores']['cortex-x3']['own_bound']:.1f}")
        line += [_against_bound(loop["cores"][core]) for core in _BOUND_CORES]
        lines.append(line)
    return markdown(head, lines)


def _against_bound(found: dict[str, float]) -> str:
    bound = found["dot_and_load_bound"]
    return f"{found['cycles'] / bound:.2f}" if bound else ""


def _functions(row: Row) -> str:
    lines = [[f"`{name}`", f"{count / 1e6:.2f}"] for name, count in row["functions"].items()]
    return markdown(["function", "M per token"], lines[:8])
