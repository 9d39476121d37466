"""Products of float32 matrices on the CPU, where pruning spends most of its time."""

from __future__ import annotations

import torch
from torch import Tensor

from tvm_c4n.pruning.threads import map_in_threads

# Rows of a product that one thread computes together: input, output and weight stay in its cache.
# Fixed, so that the bytes of a result do not depend on the number of threads.
PRODUCT_ROWS = 512
# Column blocks of a Gram matrix; 4 of them leave 5/8 of the operations, more make them too narrow.
GRAM_BLOCKS = 4


def times_transposed(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T``: (m, k), (n, k) -> (m, n).

    By oneDNN where torch has it, through the operator that `torch.compile` uses for linear layers:
    it takes half of the time that MKL, which `torch.mm` calls, takes on a Zen 5.
    """
    if left.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        out: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        return out
    return left @ right.T


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` of two tall matrices: (t, m), (t, n) -> (m, n)."""
    right = right.T.contiguous()
    blocks = left.T.contiguous().chunk(GRAM_BLOCKS)
    return torch.cat(map_in_threads(lambda block: times_transposed(block, right), blocks))


def gram_product(x: Tensor) -> Tensor:
    """``x.T @ x`` of a tall matrix: (t, n) -> (n, n), symmetric; one triangle is computed."""
    rows = x.T.contiguous()
    blocks = rows.chunk(GRAM_BLOCKS)
    result = x.new_zeros(len(rows), len(rows))

    def upper(number: int) -> None:
        start, block = number * len(blocks[0]), blocks[number]
        result[start : start + len(block), start:] = times_transposed(block, rows[start:])

    map_in_threads(upper, range(len(blocks)))
    return result.triu() + result.triu(1).T


def multiply_rows(left: Tensor, right: Tensor, out: Tensor, *, add: bool = False) -> None:
    """``out = left @ right.T``, or add it to ``out``, shared between threads by rows."""

    def part(first: int) -> None:
        rows = slice(first, first + PRODUCT_ROWS)
        found = times_transposed(left[rows], right)
        if add:
            out[rows] += found
        else:
            out[rows] = found

    map_in_threads(part, range(0, len(left), PRODUCT_ROWS))
