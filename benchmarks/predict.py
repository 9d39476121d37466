"""Tables of the cost model: prediction beside measurement, and an extrapolation to a phone."""

from __future__ import annotations

from typing import Any

from benchmarks.cost_model import (
    PHONE,
    bytes_per_token,
    calibrate,
    insns_per_token,
    phone_rate,
    state_bytes,
)
from benchmarks.report import Cell, Line, bandwidth_of, cells_of, markdown
from benchmarks.shapes import SIZES, Format

MAX_OTHERS = 0.2
"""Cores of others beside which a sample is left out, as `report` has it."""


def tables(base: dict[str, Any], checks: list[dict[str, Any]], lines: list[Line]) -> str:
    """Lay out all predictions.

    Parameters
    ----------
    base : dict
        A result of `benchmarks.arm`: the costs come from it.
    checks : list of dict
        Results for other sizes.
    lines : list of dict
        Of decode logs.
    """
    costs = {
        row["form"]: calibrate(row, base["size"], Format.parse(row["form"]))
        for row in base["rows"]
        if "form" in row
    }
    parts = [
        f"**Bytes and speed**\n\n{_bytes(lines)}" if lines else "",
        f"**Arm instructions, costs counted at {base['size']}**\n\n{_insns(costs, base, checks)}",
        f"**Extrapolated, not measured: {PHONE.name}**\n\n{_phone(costs)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _bytes(lines: list[Line]) -> str:
    bandwidth = bandwidth_of(lines, MAX_OTHERS)
    head = ["model", "threads", "MB predicted", "MB packed", "state MB"]
    head += ["t/s at most", "t/s measured", "part"]
    rows = []
    for cell in cells_of(lines, MAX_OTHERS):
        if cell.engine != "tvm_c4n" or cell.size not in SIZES or not cell.test.startswith("tg"):
            continue
        found = bytes_per_token(cell.size, _form(cell))
        limit = bandwidth[cell.threads][1] * 1e9 / found
        rows.append(
            [
                f"{cell.size} {cell.row}",
                str(cell.threads),
                f"{found / 1e6:.1f}",
                f"{cell.weight_bytes / 1e6:.1f}",
                f"{state_bytes(cell.size) / 1e6:.1f}",
                f"{limit:.0f}",
                f"{cell.rate:.0f}",
                f"{cell.rate / limit:.2f}",
            ]
        )
    return markdown(head, rows)


def _form(cell: Cell) -> Format:
    _, dtype, pattern = cell.row.split()
    return Format.parse(f"{dtype}-n{pattern.removeprefix('n=').replace('dense', '0')}")


def _insns(costs: dict[str, dict[str, float]], base: dict[str, Any], checks: list[Any]) -> str:
    rows = []
    for result in [base, *checks]:
        for row in result["rows"]:
            form = row.get("form")
            if form in costs:
                predicted = insns_per_token(costs[form], result["size"], Format.parse(form))
                error = 100 * (predicted / row["insns"] - 1)
                figures = [f"{predicted / 1e6:.2f}", f"{row['insns'] / 1e6:.2f}", f"{error:+.1f} %"]
                rows.append([f"{result['size']} {form}", *figures])
    return markdown(["model", "M predicted", "M counted", "error"], rows)


def _phone(costs: dict[str, dict[str, float]]) -> str:
    rows = []
    for size in SIZES:
        for form, cost in costs.items():
            parsed = Format.parse(form)
            insns = insns_per_token(cost, size, parsed)
            rate, why = phone_rate(size, parsed, insns)
            size_mb = f"{bytes_per_token(size, parsed) / 1e6:.0f}"
            rows.append([f"{size} {form}", size_mb, f"{insns / 1e6:.0f}", f"{rate:.0f}", why])
    return markdown(["model", "MB a token", "M insns", "t/s at most", "limited by"], rows)
