"""What lines of MetaSchedule's database say, read without MetaSchedule."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

pytest.importorskip("xgboost", reason="pip install 'tvm-c4n[tune]'")

from tvm_c4n.errors import TuneError
from tvm_c4n.ops.spec import ConvSpec, LinearSpec, OpSpec, ScanSpec
from tvm_c4n.tuning.database_lines import decisions_in, seconds_in, spec_in
from tvm_c4n.tuning.metaschedule import ms, workload

SPECS = [
    LinearSpec(True, 128, 32, 2, "int8", 128, 16, 32, False, False),
    ConvSpec(True, 768, 4, 16, 1536),
    ScanSpec(False, 768, 16, 16, 24, True),
]
PANELS = [[1, 2, 4], [0.25, 0.25, 0.5]]
STEPS = [
    ["GetSBlock", [], ["root", "main"], ["b0"]],
    ["SampleCategorical", [], PANELS, ["v1"]],
    ["Annotate", ["b0", "v1"], ["c4n.panels"], []],
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_workload_says_which_operator_it_is(spec: OpSpec) -> None:
    assert spec_in(ms.database.Workload(workload(spec)).as_json(), "here") == spec


@pytest.mark.parametrize("value", [-1, 1 << 31, 1.5, True, "128", None])
def test_sizes_that_are_none_are_refused(value: object) -> None:
    key, packed = ms.database.Workload(workload(SPECS[1])).as_json()
    data = b64decode(packed)
    graph: dict[str, Any] = json.loads(data[8:])
    for node in graph["nodes"]:
        if node.get("data") == 768:
            node["data"] = value
    line = [key, b64encode(data[:8] + json.dumps(graph).encode()).decode()]
    with pytest.raises(TuneError, match="here: no workload of a C4n operator; delete the folder"):
        spec_in(line, "here")


def test_a_trace_says_what_is_decided() -> None:
    assert decisions_in([STEPS, [[1, 2]]], "here") == {"panels": 4}


@pytest.mark.parametrize(
    "trace", [[STEPS, [[1, 3]]], [STEPS, []], [STEPS, [[1]]], [STEPS], None, [[["Annotate"]], []]]
)
def test_a_trace_that_decides_nothing_is_refused(trace: object) -> None:
    with pytest.raises(TuneError, match="here: no decisions of a C4n schedule; delete the folder"):
        decisions_in(trace, "here")


def test_samples_are_positive_numbers() -> None:
    assert seconds_in([1, 2.5], "here") == (1.0, 2.5)
    assert seconds_in(None, "here") == ()
    for bad in ([0.0], [-1.0], ["1"], [True], 1.0):
        with pytest.raises(TuneError, match="here: the times are no positive numbers"):
            seconds_in(bad, "here")
