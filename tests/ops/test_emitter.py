"""Constants and calls of the Relax functions that operators are emitted into."""

from __future__ import annotations

import numpy as np

from tvm_c4n._tvm import relax
from tvm_c4n.ops.emitter import ConstantPool, Emitter


def test_an_array_is_one_constant() -> None:
    pool, array = ConstantPool(), np.ones(3, np.float32)
    assert pool(array).same_as(pool(array))
    assert not pool(array).same_as(pool(array.copy()))


def test_a_symbolic_number_of_tokens_is_dynamic() -> None:
    bb, pool = relax.BlockBuilder(), ConstantPool()
    assert not Emitter(bb, 1, pool).dynamic
    assert Emitter(bb, relax.Var("n"), pool).dynamic
