"""What the options of `prune` say: a recipe, and a budget that one is made for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tvm_c4n.errors import RecipeError

if TYPE_CHECKING:
    from tvm_c4n.pruning.allocation.budget import Budget
    from tvm_c4n.pruning.allocation.latency import Workload

# Digits of the largest number of tokens.
_MOST_DIGITS = 7


def parse_budget(
    sparsity: float | None,
    size: str | None,
    latency: str | None,
    ppl_ratio: float | None,
    latency_table: Path | None,
) -> Budget | None:
    """Make the budget from the options that were given; None if there are none.

    Raises
    ------
    RecipeError
        More than one, a quantity that cannot be read, or no latency table.
    """
    from tvm_c4n.pruning.allocation.budget import Budget
    from tvm_c4n.pruning.allocation.latency import TOKEN, LatencyTable

    given = {"--sparsity": sparsity, "--size": size, "--latency": latency, "--ppl-ratio": ppl_ratio}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise RecipeError(f"{', '.join(names)}: one budget at a time")
    if sparsity is not None:
        return Budget("sparsity", sparsity)
    if size is not None:
        return Budget("size", _quantity("--size", size, {"KB": 1e3, "MB": 1e6, "GB": 1e9}))
    if latency is not None:
        if latency_table is None:
            raise RecipeError("--latency needs the table of a device: --latency-table DIR")
        time, colon, tokens = latency.partition(":")
        secs = _quantity("--latency", time, {"us": 1e-6, "ms": 1e-3, "s": 1.0})
        workload = _workload(latency, tokens) if colon else TOKEN
        return Budget("latency", secs, LatencyTable.read(latency_table), workload)
    return None if ppl_ratio is None else Budget("ppl_ratio", ppl_ratio)


def _quantity(option: str, text: str, units: dict[str, float]) -> float:
    """Read ``9MB`` with one of the units."""
    for unit, factor in units.items():
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            try:
                return float(number) * factor
            except ValueError:
                break
    raise RecipeError(f"{option} {text}: use a number and {', '.join(units)}")


def _workload(option: str, tokens: str) -> Workload:
    """Read ``pp512+tg128``, or one of both."""
    from tvm_c4n.pruning.allocation.latency import Workload

    counts: dict[str, int] = {}
    for part in tokens.split("+"):
        test, digits = part[:2], part[2:]
        is_count = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
        if test not in ("pp", "tg") or test in counts or not is_count or not int(digits):
            raise RecipeError(
                f"--latency {option}: cannot read {part!r}; after the colon say what takes that "
                "time: pp512+tg128 (a prompt of 512 tokens, 128 generated ones), or one of both"
            )
        counts[test] = int(digits)
    return Workload(counts.get("pp", 0), counts.get("tg", 0))


def parse_removed(text: str) -> int | dict[str, int]:
    """Read ``2`` or ``in_proj=2,out_proj=1``.

    Raises
    ------
    RecipeError
        Neither of the two.
    """
    remedy = "use a number, or in_proj=2,out_proj=1"
    if "=" not in text:
        return _number(text, remedy)
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise RecipeError(f"--removed {text}: cannot read {part!r}; {remedy}")
        found[name] = _number(number, remedy)
    return found


def _number(text: str, remedy: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"--removed: {text!r} is not a number; {remedy}") from None
