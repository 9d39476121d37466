"""Cases of the pruning benchmark, on a small model."""

from math import isfinite
from pathlib import Path

import pytest

from benchmarks.prune_case import case_of, measure

pytest.importorskip("torch", reason="pip install 'tvm-c4n[prune]'")


@pytest.mark.parametrize(
    "way",
    [
        {"removed": 2},
        {"removed": 2, "seed": 1, "scale_group": 32},
        {"sparsity": 0.25, "allocation": "uniform"},
    ],
    ids=["n", "draw", "share"],
)
def test_a_case_is_pruned_and_measured(small_model: Path, way):
    case = {
        **{"model": str(small_model), "windows": 1, "samples": 4, "sample_tokens": 64},
        **{"method": "wanda", "dtype": "int8", "without": [], "rotate": False, "repair": 0},
        **way,
    }
    row = measure(case)
    assert case_of(row) == case
    assert row["ppl"] > 1 and isfinite(row["ppl"])
    n = 2 if "removed" in way else 1
    assert row["removed_by_layer"]["in_proj"] == f"{n} {n}"
