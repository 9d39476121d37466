"""Reshapes of symbolic shapes, against numpy; where axes cannot be paired up there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relay_passes.reshapes import direct_reshape
from tvm_c4n._tvm import te, tirx, tvm

# Shapes of input and result, by the length that is symbolic when the kernel is built.
Shapes = Callable[[Any], tuple[list[Any], list[Any]]]
PAIRED: list[Shapes] = [
    lambda n: ([n, 6], [n, 2, 3]),
    lambda n: ([n, 2, 3], [n, 6]),
    lambda n: ([1, n, 4], [n, 4]),
    lambda n: ([n, 4], [1, n, 1, 2, 2]),
    lambda n: ([2, 3, n], [6, n]),
    lambda n: ([6, 4], [3, 8]),
    lambda n: ([n, 4, 6], [n, 3, 8]),
    lambda n: ([n, 4], [n * 4]),
]
UNPAIRED: list[Shapes] = [
    lambda n: ([2, n], [n, 2]),  # would divide by the symbolic length
    lambda n: ([n, 3], [n + 1, 3]),
    lambda n: ([n * 4], [n, 3, 4]),
    lambda n: ([0, n], [0, n]),
]


def symbolic(shapes: Shapes) -> tuple[te.Tensor, te.Tensor | None]:
    """A tensor of the first shape, and its reshape."""
    old, new = (
        [tirx.IntImm("int64", n) if isinstance(n, int) else n for n in shape]
        for shape in shapes(tirx.Var("n", "int64"))
    )
    source = te.placeholder(old, "float32", name="source")
    return source, direct_reshape(source, new)


@pytest.mark.parametrize("shapes", PAIRED)
@pytest.mark.parametrize("length", [1, 5])
def test_a_reshape_is_numpys(shapes: Shapes, length: int) -> None:
    source, result = symbolic(shapes)
    assert result is not None
    kernel = tvm.compile(te.create_prim_func([source, result]), target="llvm")
    old, new = shapes(length)
    array = np.random.default_rng(0).random(old, np.float32)
    found = tvm.runtime.tensor(np.zeros(new, np.float32))
    kernel(tvm.runtime.tensor(array), found)
    np.testing.assert_array_equal(found.numpy(), array.reshape(new))


@pytest.mark.parametrize("shapes", UNPAIRED)
def test_axes_that_cannot_be_paired_up_are_left_to_tvm(shapes: Shapes) -> None:
    assert symbolic(shapes)[1] is None


@pytest.mark.parametrize("shapes", PAIRED)
def test_no_index_is_divided_by_a_symbolic_length(shapes: Shapes) -> None:
    script = te.create_prim_func(list(symbolic(shapes))).script()
    divisors = re.findall(r"(?://|%) *(.)", script)
    assert all(divisor.isdigit() or divisor == "T" for divisor in divisors), script
    assert not re.search(r"(?://|%) *n", script)
