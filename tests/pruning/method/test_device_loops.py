"""The loops of a GPU, here on the CPU, against the compiled ones."""

import pytest
import torch

from tvm_c4n.pruning.method.criteria import diagonal_blocks, removal_operators
from tvm_c4n.pruning.method.device_loops import BLOCK, round_by_blocks, select_by_blocks
from tvm_c4n.pruning.method.hessian import inverse_factor
from tvm_c4n.pruning.method.loops import round_columns, select_groups
from tvm_c4n.sparsity import CODES

# Two whole blocks and a short one.
COLS = 2 * BLOCK + 12


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("removed", [1, 2, 3])
def test_the_same_masks_and_weights(problem, removed, anew):
    weight, hessian = problem(37, COLS)
    gradient = torch.zeros_like(weight) if not anew else 0.1 * (weight.roll(1, 0) @ hessian)
    corners = diagonal_blocks(inverse_factor(hessian))
    covariances = torch.linalg.inv(diagonal_blocks(hessian)) if anew else corners.mT @ corners
    coupling = hessian if anew else inverse_factor(hessian)
    factors = covariances if anew else corners
    operators = removal_operators(covariances, removed)
    shared = [matrix.float() for matrix in (operators, covariances, factors, coupling)]
    sides = [weight.float(), gradient.float()]
    found, mask = select_by_blocks(*sides, shared, removed, anew=anew)
    expected, chosen = select_groups(*sides, *shared, removed, anew=anew)
    assert torch.equal(mask, chosen)
    assert (mask.view(37, -1, 4).sum(-1) == 4 - removed).all()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("descends", [False, True])
def test_the_same_codes(problem, descends, bits):
    weight, hessian = (side.float() for side in problem(37, COLS))
    factor = inverse_factor(hessian).float()
    coupling = hessian if descends else factor / factor.diagonal()[:, None]
    rates = hessian.diagonal().reciprocal() if descends else torch.ones(COLS)
    units = 0.3 * (torch.rand(37, COLS, generator=torch.Generator().manual_seed(0)) < 0.5)
    given = [weight, torch.zeros_like(weight), units, coupling, rates, CODES[bits]]
    how = {"descends": descends, "passes": 2 if descends else 1}
    found, expected = round_by_blocks(*given, **how), round_columns(*given, **how)
    assert float((found != expected).float().mean()) < 1e-3  # halves that fall to the other side
    assert not found[units == 0].any()
