"""The scales that a GPU chooses, here on the CPU, are those of `group_scales`."""

import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.method import scales
from tvm_c4n.sparsity import CODES, group_scales


@pytest.fixture
def weight(monkeypatch):
    monkeypatch.setattr(scales, "on_cpu", lambda tensor: False)
    found = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    found *= torch.logspace(-8, 3, 40)[:, None]  # down to subnormal scales
    found[3] = 0
    return found


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_the_same_scales(weight, bits):
    found = scales.choose_scales(weight, bits, 32)
    assert found.dtype == torch.float16
    assert torch.equal(found, torch.from_numpy(group_scales(weight.numpy(), bits, 32)))


def test_what_is_no_number_is_named(weight):
    weight[2, 5] = torch.inf
    with pytest.raises(C4nError, match="row 2, col 5 is not finite"):
        scales.choose_scales(weight, 4, 32)


def loss(weight, hessian, codes, scales, size):
    rest = weight - codes * scales.float().repeat_interleave(size, 1)[:, : weight.shape[1]]
    return float(((rest @ hessian) * rest).sum(dtype=torch.float64))


def test_importance_moves_the_error_to_where_it_costs_least(problem):
    weight, hessian = (v.float() for v in problem(24, 96))
    costs = hessian.diagonal()
    plain, weighed = (scales.choose_scales(weight, 3, 32, by) for by in (None, costs))

    def cost(found):
        steps = found.float().repeat_interleave(32, 1)
        codes = scales.nearest_codes(weight / steps, CODES[3])
        return float(((weight - codes * steps).square() * costs).sum())

    assert cost(weighed) < 0.999 * cost(plain)


@pytest.mark.parametrize(("cols", "size"), [(96, 32), (100, 32), (40, 64)])
def test_a_refit_is_least_squares(problem, cols, size):
    weight, hessian = (v.float() for v in problem(12, cols))
    first = scales.choose_scales(weight, 3, size)
    steps = first.float().repeat_interleave(size, 1)[:, :cols]
    codes = scales.nearest_codes(weight / steps, CODES[3])
    codes[0, :32] = 0
    found = scales.refit_scales(weight, hessian, codes, first, size)
    assert found.dtype == torch.float16 and found.shape == first.shape
    assert found[0, 0] == first[0, 0] or cols == 40  # no codes say nothing of a scale
    before, after = (loss(weight, hessian, codes, s, size) for s in (first, found))
    assert after < before
    exact = found.double()
    for row in range(3):  # float64's answer, by the spelled-out equations
        groups = [torch.arange(g, min(g + size, cols)) for g in range(0, cols, size)]
        basis = torch.zeros(len(groups), cols, dtype=torch.float64)
        for g, columns in enumerate(groups):
            basis[g, columns] = codes[row, columns].double()
        live = [g for g in range(len(groups)) if basis[g].any()]
        left = basis[live] @ hessian.double() @ basis[live].T
        right = basis[live] @ hessian.double() @ weight[row].double()
        torch.testing.assert_close(
            exact[row, live], torch.linalg.solve(left, right), rtol=5e-3, atol=1e-4
        )
