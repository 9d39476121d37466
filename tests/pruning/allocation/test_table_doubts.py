"""What is said of latency tables that were measured beside other programs, and of quiet ones."""

import pytest

from tvm_c4n.pruning.allocation.latency import LatencyTable
from tvm_c4n.pruning.allocation.table_doubts import doubts, largest_error, widest_spread, worth
from tvm_c4n.pruning.recipe import Choice

SIZES = {"hidden": 384, "layers": 16, "vocab": 8192, "threads": 2}
# Microseconds of two threads of a Zen 4, of mamba-19m's in_proj, out_proj and head: minimum, median
# and maximum of 15 samples. Another program came when the head was measured.
MEASURED = {
    (1536, 384, "int3"): (12.01, 12.55, 16.47, 5.154, 5.487, 7.33),
    (384, 768, "int3"): (7.92, 7.99, 8.21, 2.694, 2.707, 2.821),
    (8192, 384, "int3"): (42.59, 47.03, 3602.15),
    (1536, 384, "int4"): (13.32, 13.84, 19.23, 5.042, 5.091, 5.527),
    (384, 768, "int4"): (8.27, 8.34, 8.99, 2.669, 2.69, 2.755),
    (8192, 384, "int4"): (48.35, 951.34, 3993.98),
}


def seconds(least, median, most):
    return {"min": least * 1e-6, "median": median * 1e-6, "max": most * 1e-6}


def row(shape, micros):
    rows, cols, dtype = shape
    found = {"rows": rows, "cols": cols, "removed": 0, "dtype": dtype, "threads": 2}
    found["seconds"] = seconds(*micros[:3])
    return found | ({"prompt_seconds": seconds(*micros[3:])} if micros[3:] else {})


def table(*dtypes, **more):
    rows = [row(shape, micros) for shape, micros in MEASURED.items() if shape[2] in dtypes]
    rest = [{**SIZES, "seconds": seconds(9, 10, 11)}]
    content = {"target": {}, "emulated": False, "rows": rows, "rest": rest}
    return LatencyTable.model_validate({"format": 3, **content, **more})


def check(took, predicted, least=None):
    both = {"seconds": seconds(least or took, took, took), "predicted": predicted * 1e-6}
    prompt = {"prompt_seconds": seconds(9.9, 10, 11), "prompt_predicted": 10.2e-6}
    return {"removed": 0, "dtype": "int4", "threads": 2, **both, **prompt}


def test_samples_that_agree_are_not_doubted():
    quiet = table("int3", others_cores=0.1, checks=[check(200, 190)])
    assert doubts(quiet) == ""
    assert widest_spread(quiet).ratio == pytest.approx(1.0441, abs=1e-4)
    assert largest_error(quiet) == pytest.approx(-0.05)
    assert worth(quiet).endswith("up to 4% apart, and of a whole model it was up to 5% off")


def test_layers_weigh_as_often_as_a_model_has_them():
    """A head whose samples disagree is the larger part of one layer, and a small one of sixteen."""
    found = widest_spread(table("int4"))
    assert found.choice == Choice(0, "int4")
    assert (found.least, found.median) == pytest.approx((393.79e-6, 1306.22e-6))


def test_a_table_of_a_busy_machine_is_doubted_in_one_line():
    busy = table("int3", "int4", others_cores=1.25, checks=[check(206, 348)])
    assert doubts(busy) == (
        "the latency table is doubtful: other programs took up to 1.2 cores meanwhile; samples "
        "disagree: int4 n=0 takes 394 us a generated token at least, 1306 in the median; a whole "
        "model of int4 n=0 is predicted +69% off for a generated token; measure it again on an "
        "idle machine"
    )


def test_whole_models_that_took_longer_afterwards_are_samples_that_disagree():
    """A Zen 4 whose host gave it two cores that are far apart: a step of int4 took 303 us."""
    moved = doubts(table("int3", checks=[check(242, 240, least=181)]))
    assert "int4 n=0 takes 181 us a generated token of a whole model at least, 242 in" in moved
    assert doubts(table("int3", checks=[check(200, 190, least=181)])) == ""


def test_each_of_the_three_is_enough():
    assert "1.2 cores" in doubts(table("int3", others_cores=1.2))
    assert "samples disagree" in doubts(table("int4", others_cores=0.0))
    assert "-20% off" in doubts(table("int3", checks=[check(200, 160)]))


def test_tables_of_earlier_formats_are_judged_by_their_samples():
    assert "samples disagree" in doubts(table("int4", format=2))
    first = table("int3", format=1)
    assert doubts(first) == ""
    assert worth(first).endswith("up to 4% apart, and no whole model was measured with it")
    assert widest_spread(table(format=1)) is None
