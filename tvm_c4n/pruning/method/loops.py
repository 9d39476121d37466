"""The two loops over columns: which weights go, and rounding; on the CPU compiled, else in torch.

Each column, or group of 4, is decided with what those before it have left to it. Rows are
independent problems.
"""

from __future__ import annotations

from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.pruning.method.device_loops import round_by_blocks, select_by_blocks
from tvm_c4n.sparsity import Codes


def select_groups(
    weight: Tensor,
    gradient: Tensor,
    operators: Tensor,
    covariances: Tensor,
    factors: Tensor,
    coupling: Tensor,
    removed: int,
    *,
    anew: bool,
) -> tuple[Tensor, Tensor]:
    """Choose the best mask of each group in turn, and its best weights.

    Parameters
    ----------
    weight, gradient : (rows, cols) float32
        Without restraint a group would be ``weight - gradient``, or ``weight - F gradient`` if
        `anew`, F from ``factors``.
    operators : (groups, sets, 4, 4)
        From `removal_operators`.
    covariances, factors : (groups, 4, 4)
    coupling : (cols, cols)
        The gradients of the columns behind a group change by this times F e, e the multipliers of
        `removal_operators`, or times the group's move if `anew`.
    removed : int
        n, 1..3.
    anew : bool
        Whether groups already obey a mask: what is passed on is how far a group moved, not what it
        lost.

    Returns
    -------
    weight : (rows, cols), mask : (rows, cols) bool
    """
    shared = [matrix.float() for matrix in (operators, covariances, factors, coupling)]
    if not on_cpu(weight):
        return select_by_blocks(weight, gradient, shared, removed, anew=anew)
    from tvm_c4n.pruning.method import panels  # a GPU needs no compiler

    w, g, kept = (panels.to_panels(side) for side in (weight, gradient, weight))
    panels.run_in_parts(panels.selection_kernel(removed, anew=anew), [w, g, kept], shared)
    chosen = panels.from_panels(kept, len(weight)).bool()
    return panels.from_panels(w, len(weight)), chosen


def round_columns(
    weight: Tensor,
    gradient: Tensor,
    units: Tensor,
    coupling: Tensor,
    rates: Tensor,
    codes: Codes,
    *,
    descends: bool,
    passes: int = 1,
) -> Tensor:
    """Round columns in turn while the others make up for each error.

    Each column becomes the code times its ``units`` that is nearest to ``weight - rate *
    gradient``, zero where the unit is. The gradient of column j changes by ``coupling[i, j]`` times
    the move of column i: from what it was if `descends`, else from what was rounded to what it is.

    Parameters
    ----------
    weight, gradient, units : (rows, cols) float32
    coupling : (cols, cols) float32
    rates : (cols,) float32
    codes : Codes
        What a weight can be, in units.
    descends : bool
        Whether a column moves the gradients of all others, or those on the right only.
    passes : int

    Returns
    -------
    (rows, cols)
    """
    if not on_cpu(weight):
        return round_by_blocks(
            weight, gradient, units, coupling, rates, codes, descends=descends, passes=passes
        )
    from tvm_c4n.pruning.method import panels  # a GPU needs no compiler

    kernel = panels.rounding_kernel(codes, descends=descends)
    w, g, u = (panels.to_panels(side) for side in (weight, gradient, units))
    for _ in range(passes):
        panels.run_in_parts(kernel, [w, g, u], [coupling, rates])
    return panels.from_panels(w, len(weight))
