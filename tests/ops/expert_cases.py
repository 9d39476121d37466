"""Arguments of products with experts' matrices, and what float64 makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_c4n.ops import expert_linear, quantize
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.expert_weights import arrays_of, form_of
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import ExpertLinearSpec, GroupedLinearSpec, QuantizeSpec
from tvm_c4n.sparsity import Removed, mask_from_scores, pack, removed_of_each

EXPERTS, CHOSEN = 5, 3


@dataclass(frozen=True)
class Case:
    """One base case; the others change one thing each."""

    rows: int = 64
    cols: int = 128
    removed: Removed = 2
    tokens: int = 1
    mixed: bool = False
    batched: bool = False
    chosen: int = CHOSEN


CASES = [
    Case(),
    Case(mixed=True),
    Case(mixed=True, chosen=1),
    # Rows that fill no bundle, columns that fill no k-block.
    Case(rows=21, cols=136, removed=1),
    Case(rows=21, cols=136, removed=3, mixed=True),
    Case(removed=0, tokens=3),
    Case(removed=0, tokens=3, mixed=True),
    # Experts that differ, some of them dense.
    Case(cols=200, removed=(2, 0, 1, 2, 3), tokens=2),
    Case(rows=21, cols=256, removed=(2, 1, 1, 0, 2), mixed=True),
    Case(tokens=2, batched=True),
    Case(tokens=2, batched=True, mixed=True),
]


def made(
    case: Case, dtype: str, lanes: int, chosen: Any = None
) -> tuple[ExpertLinearSpec, list[Any], Any]:
    """Return the operator of a case, its arguments, and the result in float64.

    Without `chosen` each token has random experts.
    """
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(EXPERTS * case.rows, case.cols)).astype(np.float32)
    each = np.split(np.abs(dense), EXPERTS)
    ns = removed_of_each(case.removed, EXPERTS)
    mask = np.concatenate([mask_from_scores(s, n) for s, n in zip(each, ns, strict=True)])
    weight = pack(dense, case.removed, dtype, mask=mask)
    spec = ExpertLinearSpec(
        case.tokens > 1 or case.batched,
        **{**form_of(weight, EXPERTS), "lanes": lanes},
        chosen=case.chosen,
        mixed=case.mixed,
        batched=case.batched,
    )
    # A token's vectors are next to each other, each padded by itself.
    vectors = case.chosen if case.mixed else 1
    x = rng.normal(size=(case.tokens, vectors * case.cols)).astype(np.float32)
    first: list[Any] = [x]
    if spec.integer:
        group, padded = spec.scale_group, padded_cols(spec.one)
        how = QuantizeSpec(True, case.cols, group, padded, x.shape[1], parts=vectors)
        q, scales = quantize.oracle(x, how)
        first = [q, scales.astype(np.float32)]
        exact = q.reshape(*scales.shape, group) * scales[:, :, None]
        x = exact.reshape(case.tokens, vectors, padded)[:, :, : case.cols]
        x = x.reshape(case.tokens, -1)
    if chosen is None:
        chosen = np.stack([rng.permutation(EXPERTS)[: case.chosen] for _ in range(case.tokens)])
    mixing: list[Any] = []
    if case.mixed:
        shares = rng.uniform(size=chosen.shape).astype(np.float32)
        mixing = [shares, rng.normal(size=(case.tokens, case.rows)).astype(np.float32)]
    expected = expert_linear.oracle(x, weight, chosen, *mixing, experts=EXPERTS)
    weights = [repack(weight, spec)] if lanes else arrays_of(weight)
    out = np.full(expected.shape, np.nan, np.float32)
    return spec, [*first, *weights, chosen.astype(np.int32), *mixing, out], expected


# n of experts that differ.
DIFFERENT = (1, 2, 2, 1, 3)
# Rows of each expert: none, one, and more than a micro-tile of tokens takes.
COUNTS = (0, 1, 5, 0, 19)


def grouped(removed: Removed, dtype: str, lanes: int) -> tuple[GroupedLinearSpec, list[Any], Any]:
    """Return an operator on rows that are ordered by expert, its arguments and the result."""
    case = Case(rows=40, cols=200, removed=removed, tokens=sum(COUNTS), chosen=1)
    chosen = np.repeat(np.arange(EXPERTS), COUNTS)[:, None]
    # The same operator, told by each row which expert it has.
    spec, arguments, expected = made(case, dtype, lanes, chosen)
    other = GroupedLinearSpec(
        True,
        case.rows,
        case.cols,
        spec.removed,
        dtype,
        spec.scale_group,
        lanes,
        EXPERTS,
        counts=spec.counts,
    )
    *first, _, out = arguments
    starts = np.concatenate([[0], np.cumsum(COUNTS)]).astype(np.int32)
    return other, [*first, starts, out], expected
