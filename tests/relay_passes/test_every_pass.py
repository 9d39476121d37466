"""The rules of the house for passes, held against every class that `relay_passes` exports.

A pass has a file of its own whose docstring states its preconditions, and a case in `cases.py`
with a module before and after it; it changes nothing when run twice, leaves a well-formed module,
which TVMScript can say, and no number changes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relay_passes
from tests.relay_passes.cases import CASES
from tests.relay_passes.printing import round_trip
from tvm_c4n._tvm import IRModule, Target, relax, tvm

PASSES = [name for name in relay_passes.__all__ if name[0].isupper()]


def run(mod: IRModule, inputs: list[Any]) -> np.ndarray:
    executable = relax.build(mod, Target({"kind": "llvm"}))
    return relax.VirtualMachine(executable, tvm.cpu())["main"](*inputs).numpy()


def test_every_pass_has_a_case_and_every_case_a_pass() -> None:
    assert set(CASES) == set(PASSES)


def test_every_file_with_a_pass_exports_it() -> None:
    folder = Path(relay_passes.__file__).parent
    found = set()
    for file in folder.glob("*.py"):
        found |= set(re.findall(r'^@tvm\.transform.*name="(\w+)"', file.read_text(), re.M))
    assert found == set(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_has_its_own_file_which_states_its_preconditions(name: str) -> None:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    module = sys.modules[f"relay_passes.{snake}"]
    assert hasattr(module, name)
    assert module.__doc__
    assert module.__doc__.startswith(f"{name}: ")
    assert "Precondition" in module.__doc__


@pytest.mark.parametrize("name", PASSES)
def test_before_becomes_expected_and_stays_so(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    before = case.before()
    after = case.make(tmp_path)(before)
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(after, case.expected(), map_free_vars=True)
    tvm.ir.assert_structural_equal(case.make(tmp_path)(after), after, map_free_vars=True)
    rng = np.random.default_rng(1)
    inputs = [tvm.runtime.tensor(rng.normal(size=s).astype(np.float32)) for s in case.shapes]
    expected = run(before, inputs)
    assert {name: (tmp_path / name).read_text() for name in case.files} == case.files
    if case.lifted:
        inputs += list(after.attrs["c4n.constants"])
        after = after.without_attr("c4n.constants")
    np.testing.assert_allclose(run(after, inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PASSES)
def test_the_module_after_a_pass_can_be_printed_and_parsed(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    after = case.make(tmp_path)(case.before())
    tvm.ir.assert_structural_equal(round_trip(after), after, map_free_vars=True)
