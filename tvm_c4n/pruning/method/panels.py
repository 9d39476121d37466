"""Loops over the columns of weights, compiled: in torch they are many short calls.

Rows are independent problems, so 16 of them fill a vector's lanes: weights (rows, cols) are read as
panels (rows / 16, cols, 16), and everything that a panel needs stays in the core's cache while its
columns pass from left to right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from tvm_c4n._tvm import T
from tvm_c4n.ops.tir import declare_or_bind, f32, load, local, splat, store
from tvm_c4n.pruning.method.criteria import removed_sets
from tvm_c4n.sparsity import GROUP, Codes
from tvm_c4n.torch_blocks.host_kernel import compiled
from tvm_c4n.torch_blocks.threads import map_in_threads

# Lanes of AVX-512's vectors; LLVM makes two or four of each where they are shorter.
LANES = 16
# Panels of a call: enough to be longer than the call; the default model's out_proj has 24, which
# make 6 parts for threads to share.
PART_PANELS = 4


def to_panels(matrix: Tensor) -> Tensor:
    """(rows, cols) -> (ceil(rows / 16), cols, 16) float32, the last panel filled up with zeros."""
    rows, cols = matrix.shape
    padded = torch.zeros(-(-rows // LANES) * LANES, cols)
    padded[:rows] = matrix
    return padded.view(-1, LANES, cols).transpose(1, 2).contiguous()


def from_panels(panels: Tensor, rows: int) -> Tensor:
    """Undo `to_panels`."""
    return panels.transpose(1, 2).reshape(-1, panels.shape[1])[:rows]


def run_in_parts(kernel: Callable[..., None], panels: list[Tensor], shared: list[Tensor]) -> None:
    """Call a kernel for some panels of each of ``panels`` at a time, in threads."""
    matrices = [matrix.contiguous() for matrix in shared]

    def part(first: int) -> None:
        kernel(*(value[first : first + PART_PANELS] for value in panels), *matrices)

    map_in_threads(part, range(0, len(panels[0]), PART_PANELS))


@cache
def rounding_kernel(codes: Codes, *, descends: bool) -> Callable[..., None]:
    """Compile a loop that rounds columns in turn while the others make up for each error.

    Parameters
    ----------
    codes : Codes
        What a weight can be, in units.
    descends : bool
        Whether a column moves the gradients of all others, or those on the right only.

    Returns
    -------
    callable
        ``kernel(weight, gradient, units, coupling, rates)``: each column of ``weight`` becomes the
        code times its ``units`` nearest to ``weight - rate * gradient``, zero where the unit is.
        The gradient of column j changes by ``coupling[i, j]`` times the move of column i: from
        what it was if ``descends``, else from what was rounded to what it is. Panels of float32,
        then (cols, cols) and (cols,).
    """

    def body() -> None:
        count, cols = T.int64(), T.int64()
        panels = [count, cols, LANES]
        weight = declare_or_bind("weight", panels)
        gradient = declare_or_bind("gradient", panels)
        units = declare_or_bind("units", panels)
        coupling = declare_or_bind("coupling", [cols, cols])
        rates = declare_or_bind("rates", [cols])
        with T.serial(count) as p, T.serial(cols) as i:
            before = T.bind(load(weight, (p, i), 0, LANES))
            best = T.bind(before - load(gradient, (p, i), 0, LANES) * splat(rates[i], LANES))
            unit = T.bind(load(units, (p, i), 0, LANES))
            zero, one = f32(0, LANES), f32(1, LANES)
            multiple = best / T.Select(unit == zero, one, unit)
            if codes.step == 1:
                found = T.nearbyint(multiple)
            else:
                step, offset = f32(codes.step, LANES), f32(codes.offset, LANES)
                found = T.nearbyint((multiple - offset) / step) * step + offset
            found = T.min(T.max(found, f32(codes.low, LANES)), f32(codes.high, LANES))
            rounded = T.bind(found * unit)
            move = T.bind(rounded - before if descends else best - rounded)
            store(weight, (p, i), 0, LANES, rounded)
            with T.serial(T.int64(0) if descends else i + 1, cols) as j:
                change = splat(coupling[i, j], LANES) * move
                store(gradient, (p, j), 0, LANES, load(gradient, (p, j), 0, LANES) + change)

    return compiled(body)


@cache
def selection_kernel(removed: int, *, anew: bool) -> Callable[..., None]:
    """Compile a loop that chooses the best mask of each group in turn, and its best weights.

    Parameters
    ----------
    removed : int
        n, 1..3.
    anew : bool
        Whether groups already obey a mask: what is passed on is how far a group moved, not what it
        lost.

    Returns
    -------
    callable
        ``kernel(weight, gradient, kept, operators, covariances, factors, coupling)``. Without
        restraint a group would be ``weight - gradient``, or ``weight - F gradient`` if ``anew``,
        F from ``factors``. It becomes that with the best mask, which is written to ``kept`` as 1
        and 0. The gradients of the columns behind it change by ``coupling`` times F e, e the
        multipliers of `removal_operators`, or times the group's move if ``anew``. Panels of
        float32, then (groups, sets, 4, 4), twice (groups, 4, 4) and (cols, cols).
    """

    def body() -> None:
        count, cols, groups = T.int64(), T.int64(), T.int64()
        panels = [count, cols, LANES]
        weight = declare_or_bind("weight", panels)
        gradient = declare_or_bind("gradient", panels)
        kept = declare_or_bind("kept", panels)
        sets = removed_sets(removed)
        operators = declare_or_bind("operators", [groups, len(sets), GROUP, GROUP])
        covariances = declare_or_bind("covariances", [groups, GROUP, GROUP])
        factors = declare_or_bind("factors", [groups, GROUP, GROUP])
        coupling = declare_or_bind("coupling", [cols, cols])

        def times(matrix: Any, outer: tuple[Any, ...], row: int, vector: dict[int, Any]) -> Any:
            """One row of a matrix times some of the 4 columns."""
            terms = [splat(matrix[(*outer, row, b)], LANES) * v for b, v in vector.items()]
            return T.bind(reduce(add, terms))

        with T.serial(count) as p, T.serial(groups) as g:
            first = g * GROUP
            before, slopes = (
                {a: T.bind(load(side, (p, first + a), 0, LANES)) for a in range(GROUP)}
                for side in (weight, gradient)
            )
            # Step 1: the group without restraint.
            step = {a: times(factors, (g,), a, slopes) if anew else slopes[a] for a in before}
            free = {a: T.bind(before[a] - step[a]) for a in before}
            # Step 2: the set of least loss, its multipliers e and its mask, in registers.
            zero, one, best = f32(0, LANES), f32(1, LANES), (GROUP, LANES)
            least, chosen, mask = (local(shape) for shape in ((1, LANES), best, best))
            for s, gone in enumerate(sets):
                some = {a: free[a] for a in gone}
                found = {a: times(operators, (g, s), a, some) for a in gone}
                loss = T.bind(reduce(add, (found[a] * free[a] for a in gone)))
                for a in free:
                    for side, new in (
                        (chosen, found.get(a, zero)),
                        (mask, zero if a in gone else one),
                    ):
                        if s:
                            better = loss < load(least, (0,), 0, LANES)
                            new = T.Select(better, new, load(side, (a,), 0, LANES))
                        store(side, (a,), 0, LANES, new)
                if s:
                    loss = T.min(loss, load(least, (0,), 0, LANES))
                store(least, (0,), 0, LANES, loss)
            e = {a: load(chosen, (a,), 0, LANES) for a in free}
            # Step 3: the update of the others, inside the group and behind it.
            after = {
                a: T.bind((free[a] - times(covariances, (g,), a, e)) * load(mask, (a,), 0, LANES))
                for a in free
            }
            move = {
                a: T.bind(after[a] - before[a]) if anew else times(factors, (g,), a, e)
                for a in free
            }
            for a in free:
                store(weight, (p, first + a), 0, LANES, after[a])
                store(kept, (p, first + a), 0, LANES, load(mask, (a,), 0, LANES))
            with T.serial(first + GROUP, cols) as j:
                terms = (splat(coupling[first + a, j], LANES) * move[a] for a in move)
                change = reduce(add, terms, load(gradient, (p, j), 0, LANES))
                store(gradient, (p, j), 0, LANES, change)

    return compiled(body)
