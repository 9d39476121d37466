"""Products of float32 matrices, where pruning spends most of its time; shaped for the CPU."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu
from tvm_c4n.torch_blocks.threads import map_in_threads

# Rows of a product that one thread computes together: input, output and weight stay in its cache.
# Fixed, so that the bytes of a result do not depend on the number of threads.
PRODUCT_ROWS = 512
# Column blocks of a Gram matrix; 4 of them leave 5/8 of the operations, more make them too narrow.
GRAM_BLOCKS = 4


@cache
def _by_onednn() -> bool:
    """Say whether oneDNN multiplies faster than MKL, which torch.mm calls.

    Where torch has AVX-512 it does, by half on a Zen 5. On a Zen 3, with AVX2, MKL takes 0.87 of
    oneDNN's time, reads transposed views and writes where it is told to: nothing is copied.
    """
    capability: str = torch.backends.cpu.get_cpu_capability()
    return capability.startswith("AVX512") and bool(torch.backends.mkldnn.is_available())


def times_transposed(
    left: Tensor, right: Tensor, out: Tensor | None = None, *, add: bool = False
) -> Tensor:
    """``left @ right.T``: (m, k), (n, k) -> (m, n), into ``out`` or added to it.

    oneDNN is called by the operator that `torch.compile` uses for linear layers.
    """
    # oneDNN refuses matrices without an element, as an expert has that no token chose.
    filled = left.numel() and right.numel()
    if left.dtype == torch.float32 and filled and on_cpu(left) and _by_onednn():
        found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        if out is None:
            return found
        return out.add_(found) if add else out.copy_(found)
    if out is None:
        return left @ right.T
    return out.addmm_(left, right.T) if add else torch.mm(left, right.T, out=out)


def _columns(tall: Tensor) -> Tensor:
    """``tall.T``, as the products read it best."""
    return tall.T.contiguous() if _by_onednn() else tall.T


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` of two tall matrices: (t, m), (t, n) -> (m, n)."""
    if not on_cpu(left):
        return left.T @ right
    columns = _columns(right)
    blocks = _columns(left).chunk(GRAM_BLOCKS)
    return torch.cat(map_in_threads(lambda block: times_transposed(block, columns), blocks))


def gram_product(x: Tensor) -> Tensor:
    """``x.T @ x`` of a tall matrix: (t, n) -> (n, n), symmetric; one triangle is computed."""
    if not on_cpu(x):
        return _symmetric(x.T @ x)
    rows = _columns(x)
    blocks = rows.chunk(GRAM_BLOCKS)
    result = x.new_zeros(len(rows), len(rows))

    def upper(number: int) -> None:
        start, block = number * len(blocks[0]), blocks[number]
        times_transposed(block, rows[start:], result[start : start + len(block), start:])

    map_in_threads(upper, range(len(blocks)))
    return _symmetric(result)


def _symmetric(matrix: Tensor) -> Tensor:
    """Return a matrix whose lower triangle is its upper one."""
    return matrix.triu() + matrix.triu(1).T


def multiply_rows(left: Tensor, right: Tensor, out: Tensor, *, add: bool = False) -> None:
    """``out = left @ right.T``, or add it to ``out``, shared between threads by rows."""
    if not on_cpu(left):
        times_transposed(left, right, out, add=add)
        return

    def part(first: int) -> None:
        rows = slice(first, first + PRODUCT_ROWS)
        times_transposed(left[rows], right, out[rows], add=add)

    map_in_threads(part, range(0, len(left), PRODUCT_ROWS))
