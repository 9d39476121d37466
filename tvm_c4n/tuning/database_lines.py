"""What the lines of MetaSchedule's JSON database say of our operators.

A workload's line has its module as a graph of nodes, packed in base64. No module is built from it:
one of its maps has the attributes of the operator, which are all there is to know.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from schedules.base import current_names
from tvm_c4n.errors import TuneError
from tvm_c4n.ops.attrs import KIND, PREFIX
from tvm_c4n.ops.spec import SPECS, OpSpec
from tvm_c4n.sparsity import DTYPES

# MetaSchedule's seconds for a candidate that did not run.
MAX_SECS = 1e10
_MAX_SIZE = 1 << 31
_LENGTH_BYTES = 8
_AGAIN = "delete the folder and tune again"
# What comes of values of other types or lengths than ours.
_WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


def spec_in(line: Any, where: str) -> OpSpec:
    """Read which operator the line of a workload is about.

    Raises
    ------
    TuneError
        It is about none of ours.
    """
    try:
        _, packed = line
        nodes = json.loads(b64decode(packed, validate=True)[_LENGTH_BYTES:])["nodes"]
        return _spec(_attributes(nodes))
    except _WRONG as error:
        raise TuneError(f"{where}: no workload of a C4n operator; {_AGAIN}") from error


def _attributes(nodes: list[Any]) -> dict[str, Any]:
    """Find the map with the kind of an operator among the nodes of a module."""
    for node in nodes:
        if node["type"] == "ffi.Map":
            numbers = node["data"]
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            found = {nodes[key].get("data"): nodes[value].get("data") for key, value in pairs}
            if KIND in found:
                return found
    raise KeyError(KIND)


def _spec(attributes: Mapping[str, Any]) -> OpSpec:
    kind = next((c for c in SPECS if c.kind == attributes[KIND]), None)
    if kind is None:
        raise ValueError(attributes[KIND])
    values = {}
    for field in fields(kind):
        name = f"{PREFIX}{field.name}"
        if name not in attributes and field.default is not MISSING:
            continue  # written before the field was there
        value = values[field.name] = attributes[name]
        if type(value).__name__ != str(field.type):
            raise TypeError(field.name)
        if isinstance(value, int) and not 0 <= value < _MAX_SIZE:
            raise ValueError(field.name)
        if isinstance(value, str) and value not in DTYPES:
            raise ValueError(field.name)
    return kind(**values)


def decisions_in(trace: Any, where: str) -> dict[str, int]:
    """Read what the trace of a candidate decides.

    Raises
    ------
    TuneError
        It is none of ours.
    """
    try:
        steps, chosen = trace
        indices = dict(chosen)
        sampled, found = {}, {}
        for number, (name, inputs, attributes, outputs) in enumerate(steps):
            if name == "SampleCategorical":
                sampled[outputs[0]] = attributes[0][indices[number]]
            elif name == "Annotate" and attributes[0].startswith(PREFIX):
                found[attributes[0].removeprefix(PREFIX)] = sampled[inputs[1]]
        if any(type(value) is not int for value in found.values()):
            raise TypeError
    except _WRONG as error:
        raise TuneError(f"{where}: no decisions of a C4n schedule; {_AGAIN}") from error
    return current_names(found)


def seconds_in(times: Any, where: str) -> tuple[float, ...]:
    """Read the samples of a candidate, in seconds; () if it did not run.

    Raises
    ------
    TuneError
        They are no positive numbers.
    """
    times = [] if times is None else times
    if not isinstance(times, list) or any(type(t) not in (int, float) or t <= 0 for t in times):
        raise TuneError(f"{where}: the times are no positive numbers; {_AGAIN}")
    return tuple(float(t) for t in times)
