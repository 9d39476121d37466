"""n of a weight: one number, or one for each of the matrices that lie below each other in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tvm_c4n.sparsity.pattern import GROUP, describe, kept_of

# Of experts that differ, n of each; it is never the same number for all.
Removed: TypeAlias = int | tuple[int, ...]


def joined_removed(each: Sequence[int]) -> Removed:
    """Return n of matrices below each other: one number where it is the same for all."""
    return each[0] if len(set(each)) == 1 else tuple(each)


def removed_of_each(removed: Removed, matrices: int) -> tuple[int, ...]:
    """Return n of each of so many matrices."""
    return removed if isinstance(removed, tuple) else (removed,) * matrices


def usual_removed(removed: Removed) -> int:
    """Return the n that most matrices have; of several the largest."""
    if not isinstance(removed, tuple):
        return removed
    counted = Counter(removed)
    return max(counted, key=lambda n: (counted[n], n))


def kept_share(removed: Removed) -> float:
    """Return which part of the weights stays; matrices below each other have the same size."""
    each = removed_of_each(removed, 1)
    return sum(map(kept_of, each)) / (GROUP * len(each))


def describe_removed(removed: Removed) -> str:
    """Say a pattern in words: `describe`, or how many matrices have which n."""
    if not isinstance(removed, tuple):
        return describe(removed)
    return describe_counts(dict(Counter(removed)))


def short_removed(removed: Removed) -> str:
    """Write n, or from which to which n the matrices have: ``1-2``."""
    each = removed_of_each(removed, 1)
    return "-".join(map(str, dict.fromkeys((min(each), max(each)))))


def describe_counts(counts: dict[int, int]) -> str:
    """Describe the one pattern, or count several: ``dense x1, n=1 x11``."""
    if len(counts) == 1:
        return describe(next(iter(counts)))
    return ", ".join(
        f"{f'n={n}' if n else 'dense'} x{count}" for n, count in sorted(counts.items())
    )


def count_removed(weights: Iterable[Removed]) -> dict[int, int]:
    """Count weights by n; if matrices of a weight differ, matrices are counted."""
    found = list(weights)
    matrices = max((len(n) for n in found if isinstance(n, tuple)), default=1)
    return dict(Counter(n for removed in found for n in removed_of_each(removed, matrices)))
