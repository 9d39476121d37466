"""What a new instruction set family gets without any other file being changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

import schedules.intrin
from schedules.intrin.portable import Portable
from tests.ops.test_spec import SPECS
from tests.schedules.conftest import Machine
from tests.schedules.linear_cases import Case, check_against_float64
from tvm_c4n.ops.isa import FAMILIES, Isa
from tvm_c4n.ops.spec import AdvanceSpec, EmbeddingSpec, GroupSpec, OpSpec

MADE_UP = Isa("made-up", 16, ("imagination",))
# An embedding, the count of tokens, the places of experts and parts that each are rounded on their
# own keep their plain definitions.
RULED = [
    spec
    for spec in SPECS
    if not isinstance(spec, EmbeddingSpec | AdvanceSpec | GroupSpec)
    and getattr(spec, "parts", 1) == 1
]


class MadeUp(Portable):
    """A family that nobody tuned, with other lanes than that of its kernels' arithmetic."""

    isa = MADE_UP


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new family, beside the others."""
    monkeypatch.setattr(schedules.intrin, "ALL", (*schedules.intrin.ALL, MadeUp()))


@pytest.mark.parametrize("dynamic", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("spec", RULED, ids=lambda spec: spec.kind)
def test_a_new_family_has_a_kernel_for_every_operator(spec: OpSpec, dynamic: bool) -> None:
    answer = schedules.choose(replace(spec, dynamic=dynamic), MADE_UP)
    assert answer is not None
    assert answer[1].prim_func().attrs["c4n.kind"] == spec.kind


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4", "int3"])
@pytest.mark.parametrize(("tokens", "rule"), [(1, "c4n_gemv"), (5, "c4n_gemm")])
def test_its_products_match_float64(dtype: str, tokens: int, rule: str) -> None:
    machine = Machine(MADE_UP, None, "portable")
    check_against_float64(machine, [Case(tokens=tokens, rows=37)], dtype, rule)


def test_every_family_has_its_file() -> None:
    assert [intrin.isa for intrin in schedules.intrin.ALL] == [*FAMILIES, MADE_UP]
