"""What speaks against a latency table: that it was not measured on an idle device. No torch.

Three things are looked at. What other programs took meanwhile, where the system says so. Whether
samples agree: of an idle device the least one and the median are within some per cent. And whether
the table predicts a whole model that was measured beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tvm_c4n.pruning.allocation.latency import LatencyTable, Seconds
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.runtime.contention import BUSY_CORES

# The layers of a model by medians over the same by least samples, at most of all n and dtypes. Of
# idle machines it was up to 1.18, beside another program 3.5 and 5.3
# (docs/decisions/latency-table.md).
MAX_SPREAD = 1.3
# What a whole model is predicted to take may differ so much from what it took.
MAX_ERROR = 0.15
AGAIN = "measure it again on an idle machine"


class Spread(NamedTuple):
    """Seconds of a layer of each shape, all stored alike: least samples, and medians."""

    choice: Choice
    of: str
    least: float
    median: float

    @property
    def ratio(self) -> float:
        """Median over least."""
        return self.median / self.least


def widest_spread(table: LatencyTable) -> Spread | None:
    """Return where the samples of a table disagree most; None of an empty table.

    A model's layers weigh as often as it has them, its head once.
    """
    return max(_spreads(table), key=lambda found: found.ratio, default=None)


def largest_error(table: LatencyTable) -> float:
    """Return the largest relative error of what was predicted of whole models; 0 without any."""
    return max((error for *_, error in _errors(table)), key=abs, default=0.0)


def doubts(table: LatencyTable) -> str:
    """Say in a line why a table is not to be trusted, and what to do; empty where it is."""
    found = []
    if table.others_cores is not None and table.others_cores >= BUSY_CORES:
        found.append(f"other programs took up to {table.others_cores:.1f} cores meanwhile")
    spread = widest_spread(table)
    if spread is not None and spread.ratio > MAX_SPREAD:
        found.append(
            f"samples disagree: {spread.choice.dtype} n={spread.choice.removed} takes "
            f"{spread.least * 1e6:.0f} us {spread.of} at least, {spread.median * 1e6:.0f} in the "
            "median"
        )
    wrong = [each for each in _errors(table) if abs(each[-1]) > MAX_ERROR]
    if wrong:
        name, of, error = max(wrong, key=lambda each: abs(each[-1]))
        found.append(f"a whole model of {name} is predicted {error:+.0%} off {of}")
    return f"the latency table is doubtful: {'; '.join(found)}; {AGAIN}" if found else ""


def worth(table: LatencyTable) -> str:
    """Say in a line what a prediction by a table is worth."""
    spread = widest_spread(table)
    apart = 0.0 if spread is None else spread.ratio - 1
    line = f"these are predictions: the table's samples are up to {apart:.0%} apart"
    if not table.checks:
        return f"{line}, and no whole model was measured with it"
    return f"{line}, and of a whole model it was up to {abs(largest_error(table)):.0%} off"


def _spreads(table: LatencyTable) -> Iterator[Spread]:
    layers = max((rest.n_layer for rest in table.rest), default=1)
    sums: dict[tuple[Choice, str], list[float]] = {}

    def add(choice: Choice, of: str, count: int, secs: Seconds) -> None:
        total = sums.setdefault((choice, of), [0.0, 0.0])
        total[0] += count * secs.min
        total[1] += count * secs.median

    for entry in table.entries:
        choice = Choice(entry.removed, entry.dtype)
        prompt = entry.prompt_seconds
        add(choice, "a generated token", 1 if prompt is None else layers, entry.seconds)
        if prompt is not None:
            add(choice, "a token of a prompt", layers, prompt)
    for (choice, of), (least, median) in sums.items():
        yield Spread(choice, of, least, median)
    # Before and after all kernels: a host that moves a machine to other cores shows here.
    for check in table.checks:
        choice = Choice(check.removed, check.dtype)
        step, prompt = check.seconds, check.prompt_seconds
        yield Spread(choice, "a generated token of a whole model", step.min, step.median)
        yield Spread(choice, "a token of a whole model's prompt", prompt.min, prompt.median)


def _errors(table: LatencyTable) -> Iterator[tuple[str, str, float]]:
    for check in table.checks:
        name = f"{check.dtype} n={check.removed}"
        yield name, "for a generated token", check.predicted / check.seconds.median - 1
        error = check.prompt_predicted / check.prompt_seconds.median - 1
        yield name, "for a prompt", error
