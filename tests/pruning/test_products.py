"""Products are those of torch, whatever is shared between threads."""

import pytest
import torch

from tvm_c4n.pruning import products


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(("rows", "cols"), [(70, 1), (70, 3), (70, 5), (70, 30), (0, 8)])
def test_products_of_tall_matrices(rows, cols, onednn, monkeypatch):
    monkeypatch.setattr(products, "_by_onednn", lambda: onednn)
    left, right = draw(rows, cols), draw(rows, 11)
    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(products.transposed_product(left, right), left.T @ right, **close)
    found = products.gram_product(left)
    torch.testing.assert_close(found, left.T @ left, **close)
    assert torch.equal(found, found.T)


@pytest.mark.parametrize("onednn", [True, False])
def test_rows_in_parts_from_a_view_are_the_product(onednn, monkeypatch):
    monkeypatch.setattr(products, "_by_onednn", lambda: onednn)
    monkeypatch.setattr(products, "PRODUCT_ROWS", 16)
    wide, right, out = draw(70, 12), draw(9, 5), torch.zeros(70, 9)
    products.multiply_rows(wide[:, 3:8], right, out)
    torch.testing.assert_close(out, wide[:, 3:8] @ right.T)
    products.multiply_rows(wide[:, 3:8], right, out, add=True)
    torch.testing.assert_close(out, 2 * (wide[:, 3:8] @ right.T))


def test_float64_stays_float64():
    left, right = draw(4, 6, dtype=torch.float64), draw(3, 6, dtype=torch.float64)
    assert torch.equal(products.times_transposed(left, right), left @ right.T)
