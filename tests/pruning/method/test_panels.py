"""Compiled loops against the same loops in Python, for rows that do not fill the last panel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tvm_c4n.pruning.method.panels import (
    from_panels,
    rounding_kernel,
    run_in_parts,
    selection_kernel,
    to_panels,
)
from tvm_c4n.sparsity import CODES

ROWS, COLS = 37, 12


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_panels_hold_sixteen_rows_side_by_side() -> None:
    matrix = torch.arange(20.0 * 3).view(20, 3)
    panels = to_panels(matrix)
    assert panels.shape == (2, 3, 16)
    assert panels[1, 2].tolist() == [50, 53, 56, 59] + 12 * [0]
    assert torch.equal(from_panels(panels, 20), matrix)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("descends", [False, True])
def test_rounding_equals_the_loop(descends: bool, bits: int) -> None:
    weight, gradient, coupling = 3 * draw(ROWS, COLS), draw(ROWS, COLS) / 9, draw(COLS, COLS) / 9
    units = draw(ROWS, COLS).abs() + 0.1
    units[:, 5] = 0  # removed
    rates = draw(COLS).abs()
    w, g = (v.double().numpy().copy() for v in (weight, gradient))
    for i in range(COLS):
        unit = units[:, i].double().numpy()
        best = w[:, i] - g[:, i] * float(rates[i])
        multiple = best / np.where(unit == 0, 1, unit)
        if bits == 4:
            rounded = unit * np.clip(np.rint(multiple), -8, 7)
        else:
            every = np.array([-3, -1, 1, 3])
            rounded = unit * every[np.abs(multiple[:, None] - every).argmin(1)]
        move = rounded - w[:, i] if descends else best - rounded
        w[:, i] = rounded
        others = slice(0 if descends else i + 1, COLS)
        g[:, others] += move[:, None] * coupling[i, others].double().numpy()
    panels = [to_panels(value) for value in (weight, gradient, units)]
    run_in_parts(rounding_kernel(CODES[bits], descends=descends), panels, [coupling, rates])
    np.testing.assert_allclose(from_panels(panels[0], ROWS).numpy(), w, atol=1e-5)
    np.testing.assert_allclose(from_panels(panels[1], ROWS).numpy(), g, atol=1e-4)


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("removed", [1, 3])
def test_a_single_group_is_chosen_by_hand(removed: int, anew: bool) -> None:
    # With unit matrices the loss of a set is the sum of its squares, whatever else is kept.
    weight = draw(ROWS, 4)
    sets = 4
    gone = [[s] if removed == 1 else [c for c in range(4) if c != 3 - s] for s in range(sets)]
    operators = torch.zeros(1, sets, 4, 4)
    for s, columns in enumerate(gone):
        operators[0, s, columns, columns] = 1
    unit = torch.eye(4)[None]
    w, kept = to_panels(weight), to_panels(weight)
    panels = [w, torch.zeros_like(w), kept]
    run_in_parts(selection_kernel(removed, anew=anew), panels, [operators, unit, unit, unit[0]])
    order = weight.abs().argsort(1)
    mask = torch.ones_like(weight).scatter(1, order[:, :removed], 0)
    assert torch.equal(from_panels(kept, ROWS), mask)
    torch.testing.assert_close(from_panels(w, ROWS), weight * mask)


def test_the_number_of_threads_changes_nothing() -> None:
    found = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        panels = [to_panels(draw(700, COLS)) for _ in range(3)]
        kernel = rounding_kernel(CODES[4], descends=True)
        run_in_parts(kernel, panels, [draw(COLS, COLS), draw(COLS)])
        found.append(panels[0])
    torch.set_num_threads(before)
    assert torch.equal(*found)
