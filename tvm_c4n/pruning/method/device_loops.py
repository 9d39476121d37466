"""The loops of `loops.py` in torch, for a GPU: many rows at once, some columns at a time.

Matrices lie transposed, so that a column is one piece of memory. Inside a block each column updates
those behind it, in steps that are recorded; what lies behind the block is updated by one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import Tensor

from tvm_c4n.pruning.method.criteria import removed_sets
from tvm_c4n.pruning.method.recorded import Recorded
from tvm_c4n.pruning.method.scales import nearest_codes
from tvm_c4n.sparsity import GROUP, Codes

# Columns of a block, a multiple of 4: the updates inside take no longer than the calls.
BLOCK = 32


def select_by_blocks(
    weight: Tensor, gradient: Tensor, shared: Sequence[Tensor], removed: int, *, anew: bool
) -> tuple[Tensor, Tensor]:
    """Choose masks as `tvm_c4n.pruning.method.loops.select_groups` says.

    ``shared`` are its operators, covariances, factors and coupling, in float32.
    """
    operators, covariances, factors, coupling = shared
    w, g = (side.T.contiguous() for side in (weight, gradient))
    kept, sets = torch.empty_like(w), removed_sets(removed)
    stays = w.new_ones(GROUP, len(sets))
    for s, gone in enumerate(sets):
        stays[list(gone), s] = 0
    steps = _selection(anew)
    for start in range(0, len(w), BLOCK):
        block = slice(start, min(start + BLOCK, len(w)))
        groups = slice(block.start // GROUP, block.stop // GROUP)
        moves = torch.empty_like(w[block])
        parts = operators[groups].flatten(1, 2), covariances[groups], factors[groups]
        steps(w[block], kept[block], moves, g[block], coupling[block, block], *parts, stays)
        g[block.stop :].addmm_(coupling[block, block.stop :].T, moves)
    return w.T.contiguous(), kept.T.contiguous().bool()


@cache
def _selection(anew: bool) -> Recorded:
    return Recorded(partial(_select, anew), 3)


def _select(
    anew: bool,
    w: Tensor,
    kept: Tensor,
    moves: Tensor,
    g: Tensor,
    coupling: Tensor,
    operators: Tensor,
    covariances: Tensor,
    factors: Tensor,
    stays: Tensor,
) -> None:
    """Choose the masks of a block, (columns, rows), its weights and the moves of their gradients.

    ``stays`` (4, sets) has a 1 where a set leaves a column.
    """
    for number, (operator, covariance, factor) in enumerate(
        zip(operators, covariances, factors, strict=True)
    ):
        group, behind = slice(GROUP * number, GROUP * number + GROUP), GROUP * number + GROUP
        free = w[group] - (factor @ g[group] if anew else g[group])
        found = (operator @ free).unflatten(0, (-1, GROUP))  # sets 4 rows
        best = (found * free).sum(1).argmin(0)
        e = found.gather(0, best.expand(1, GROUP, -1))[0]
        torch.index_select(stays, 1, best, out=kept[group])
        after = (free - covariance @ e) * kept[group]
        moves[group] = after - w[group] if anew else factor @ e
        w[group] = after
        g[behind:].addmm_(coupling[group, behind:].T, moves[group])


def round_by_blocks(
    weight: Tensor,
    gradient: Tensor,
    units: Tensor,
    coupling: Tensor,
    rates: Tensor,
    codes: Codes,
    *,
    descends: bool,
    passes: int,
) -> Tensor:
    """Round as `tvm_c4n.pruning.method.loops.round_columns` says."""
    w, g, u = (side.T.contiguous() for side in (weight, gradient, units))
    steps = _rounding(codes, descends)
    for _ in range(passes):
        for start in range(0, len(w), BLOCK):
            block = slice(start, min(start + BLOCK, len(w)))
            own, moves = coupling[block, block], torch.empty_like(w[block])
            steps(w[block], moves, g[block], u[block], own, rates[block, None])
            g[block.stop :].addmm_(coupling[block, block.stop :].T, moves)
            if descends:  # the next pass reads what is left of the block, and itself
                g[block].addmm_(own.tril().T, moves)
                g[:start].addmm_(coupling[block, :start].T, moves)
    return w.T.contiguous()


@cache
def _rounding(codes: Codes, descends: bool) -> Recorded:
    return Recorded(partial(_round, codes, descends), 3)


def _round(
    codes: Codes,
    descends: bool,
    w: Tensor,
    moves: Tensor,
    g: Tensor,
    units: Tensor,
    coupling: Tensor,
    rates: Tensor,
) -> None:
    """Round the columns of a block, (columns, rows), and say how far each one's gradient moves."""
    divisors = torch.where(units == 0, 1, units)
    for i in range(len(w)):
        best = torch.addcmul(w[i], g[i], rates[i], value=-1)
        rounded = nearest_codes(best / divisors[i], codes).mul_(units[i])
        torch.sub(*((rounded, w[i]) if descends else (best, rounded)), out=moves[i])
        w[i] = rounded
        g[i + 1 :].addr_(coupling[i, i + 1 :], moves[i])
