"""Bytes of two panels: exact sums, and half the instructions that take weights out of bytes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import schedules
from tests.schedules.conftest import TARGETS, Machine
from tests.schedules.linear_cases import Case, spec_for
from tvm_c4n._tvm import IRModule, Target, tvm
from tvm_c4n.ops.isa import NEON, isa_of
from tvm_c4n.ops.repack import PairedPanel, panel_format, repack
from tvm_c4n.ops.spec import LinearSpec
from tvm_c4n.sparsity import from_dense


@pytest.mark.phone
def test_sums_are_exact(phone: Any) -> None:
    """With scales of one the result is an integer that float32 holds: not one bit may differ."""
    machine, rng = Machine(NEON, phone), np.random.default_rng(1)
    funcs, calls, expected = {}, {}, {}
    for rows, tokens in ((70, 1), (200, 1), (200, 9)):
        dense = rng.choice([-8, -8, 7, 1], size=(rows, 256)).astype(np.float32)
        weight = from_dense(dense, 0, "int4", scales=np.ones((rows, 4), np.float16))
        spec = spec_for(Case(rows, 256, 0, tokens), weight, NEON.lanes)
        assert isinstance(panel_format(spec), PairedPanel)
        x = rng.choice([-127, 127, 3], size=(tokens, 256)).astype(np.int8)
        answer, name = schedules.choose(spec, NEON), f"{rows}_{tokens}"
        assert answer is not None
        funcs[name] = answer[1].prim_func()
        out = np.zeros((tokens, rows), np.float32)
        calls[name] = [x, np.ones((tokens, 4), np.float32), repack(weight, spec), out]
        expected[name] = x.astype(np.int64) @ dense.astype(np.int64).T
    results = machine.run(funcs, calls)
    for name in funcs:
        np.testing.assert_array_equal(results[name][-1], expected[name])


def test_two_dot_products_share_one_instruction_that_unpacks() -> None:
    target = Target(TARGETS["neon"])
    isa = isa_of(target)
    answer = schedules.choose(LinearSpec(False, 1024, 768, 0, "int4", 128, isa.lanes, 768), isa)
    assert answer is not None
    kernel = answer[1].prim_func().with_attr("global_symbol", "gemv")
    text = tvm.compile(IRModule({"gemv": kernel}), target).mod.inspect_source("asm")
    counts = {name: len(re.findall(rf"\s{name}\s+v", text)) for name in ("sdot", "and", "shl")}
    # Eight more for the sum of the activations; a sum of low halves is shifted once.
    assert counts == {"sdot": 128 + 8, "and": 64, "shl": 2}
