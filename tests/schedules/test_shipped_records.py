"""The records of the package: whole, of real devices, of decisions that the rules still have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schedules import fits, space_of
from tvm_c4n.compile.records import CONFIRMATIONS, SHIPPED, open_records
from tvm_c4n.ops.isa import isa_named
from tvm_c4n.ops.spec import SPECS
from tvm_c4n.tuning.comparison import Comparisons, best_accepted

FOLDERS = sorted(path.name for path in SHIPPED.glob("*/"))


def spec_named(fields: dict[str, Any]) -> Any:
    """The operator that stands in a file."""
    cls = next(spec for spec in SPECS if spec.kind == fields["kind"])
    return cls(**{name: value for name, value in fields.items() if name != "kind"})


def test_some_are_shipped() -> None:
    assert FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_each_decision_is_one_that_the_rule_has(name: str) -> None:
    records = open_records(Path(SHIPPED, name))
    assert not records.manifest.emulated
    isa = isa_named(records.manifest.target.isa)
    for best in records.best:
        assert fits(best.decisions, space_of(spec_named(best.spec), isa)), best.spec


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_not_the_default_was_accepted_instead_of_it(name: str) -> None:
    records = open_records(Path(SHIPPED, name))
    isa = isa_named(records.manifest.target.isa)
    comparisons = Comparisons(records.path)
    assert (records.path / CONFIRMATIONS).is_file()
    for best in records.best:
        spec = spec_named(best.spec)
        default = {name: choices[0] for name, choices in space_of(spec, isa).items()}
        if best.decisions == default:
            continue
        accepted = best_accepted(comparisons.against(spec, tuple(sorted(default.items()))))
        assert accepted is not None
        assert accepted.candidate == best.decisions
        assert best.seconds < best.default_seconds
