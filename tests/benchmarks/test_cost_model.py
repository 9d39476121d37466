"""The cost model against what is stored, and against the count that it was calibrated with."""

import numpy as np
import pytest

from benchmarks.cost_model import bits_per_weight, calibrate, insns_per_token, phone_rate, work
from benchmarks.shapes import Format, random_weight


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_bits_are_those_of_a_stored_weight(dtype, removed):
    rows, cols = 64, 512
    weight = random_weight(np.random.default_rng(0), (rows, cols), dtype, removed)
    assert bits_per_weight(dtype, removed) * rows * cols / 8 == weight.size_bytes


def test_a_calibrated_count_is_predicted_and_larger_shapes_cost_more():
    form = Format("int4", 2)
    units = work("130m", form)
    stages = [{"name": name, "insns": 3 * count} for name, count in units.items()]
    count = {"stages": stages, "insns": 3 * sum(units.values()) + 24 * 768 * 5}
    costs = calibrate(count, "130m", form)
    assert costs["rest"] == pytest.approx(5)
    assert insns_per_token(costs, "130m", form) == pytest.approx(count["insns"])
    larger = insns_per_token(costs, "370m", form)
    assert larger == pytest.approx(3 * sum(work("370m", form).values()) + 48 * 1024 * 5)


def test_a_phone_is_limited_by_what_is_scarcer():
    form = Format("int4", 2)
    assert phone_rate("130m", form, insns=1)[1] == "memory"
    assert phone_rate("130m", form, insns=10**9) == (20.0, "instructions")
