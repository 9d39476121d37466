"""The position grows by the tokens of a call."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import advance
from tvm_c4n.ops.spec import AdvanceSpec


@pytest.mark.parametrize("tokens", [1, 5])
def test_position_grows_by_the_tokens(tokens: int) -> None:
    func = advance.define(AdvanceSpec(tokens > 1))
    _, position = call(func, np.zeros(tokens, "i4"), np.array([7], "i4"))
    assert position.tolist() == [7 + tokens]
