"""Specs as the attributes of PrimFuncs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tvm_c4n._tvm import T
from tvm_c4n.ops.spec import (
    WEIGHT_ONLY_MAX_COLS,
    AdvanceSpec,
    AttentionSpec,
    ConvSpec,
    DeltaSpec,
    EmbeddingSpec,
    ExpertLinearSpec,
    GroupedLinearSpec,
    GroupSpec,
    LinearSpec,
    MixSpec,
    OpSpec,
    QuantizeSpec,
    ReluSquaredSpec,
    RmsNormPartsSpec,
    RmsNormSpec,
    RotarySpec,
    RouteSpec,
    ScanSpec,
    SpreadSpec,
    SsdSpec,
    SwigluSpec,
    is_weight_only,
    spec_of,
)
from tvm_c4n.ops.tir import build

SPECS = [
    LinearSpec(True, 8, 12, 3, "int4", 64, 16, 20, bias=True),
    ExpertLinearSpec(True, 8, 12, 3, "int4", 64, 16, 6, 2, mixed=True),
    GroupedLinearSpec(True, 8, 12, 3, "int4", 64, 16, 6),
    GroupSpec(True, 6, 2),
    SpreadSpec(True, 12, 2, "int8"),
    MixSpec(True, 12, 2),
    RouteSpec(True, 6, 2),
    QuantizeSpec(False, 12, 64, 64, 12, parts=2),
    EmbeddingSpec(True, 8, 12, "int8", 64, 8),
    RmsNormSpec(True, 8, 1e-5, True, groups=2, gap=4),
    RmsNormPartsSpec(True, 4, 2, 1e-5),
    ConvSpec(False, 4, 4, 2, 12, gated=True),
    ScanSpec(True, 8, 16, 2, 3, half=True),
    SwigluSpec(True, 8, fused=True),
    ReluSquaredSpec(True, 8),
    SsdSpec(True, 4, 32, 64, 2, groups=2, low=0.001, high=0.1, half=True),
    AttentionSpec(False, 4, 2, 8, 1, 64, 0.125, 4, True, gated=True),
    DeltaSpec(True, 4, 32, 2, 16, 2, 1e-6),
    RotarySpec(True, 4),
    AdvanceSpec(False),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_specs_survive_as_attributes(spec: OpSpec) -> None:
    assert spec_of(build(spec, "f", lambda: T.evaluate(0))) == spec


def test_fields_that_a_module_was_written_without_have_their_default() -> None:
    func = build(ConvSpec(False, 4, 4, 2, 8), "f", lambda: T.evaluate(0))
    assert spec_of(func.without_attr("c4n.first")) == ConvSpec(False, 4, 4, 2, 8, first=0)


def test_widths_of_a_mamba2_mixer() -> None:
    """mamba2-130m: in_proj has 3352 rows, of which 3072 are z's and x's."""
    spec = SsdSpec(True, 24, 64, 128, 24)
    assert (2 * spec.inner, spec.bc_width + spec.heads) == (3072, 280)


def test_what_is_no_operator_has_no_spec() -> None:
    assert spec_of(None) is None


def test_only_narrow_dense_int8_weights_keep_float_activations() -> None:
    assert is_weight_only(WEIGHT_ONLY_MAX_COLS, 0, "int8")
    assert not is_weight_only(WEIGHT_ONLY_MAX_COLS + 4, 0, "int8")
    assert not is_weight_only(64, 1, "int8")
    assert not is_weight_only(64, 0, "int4")


def test_a_field_that_came_later_is_written_only_where_it_says_something():
    plain = LinearSpec(False, 8, 16, 2, "int8", 128, 16, 16)
    assert "c4n.factor" not in plain.attrs()
    assert replace(plain, factor=0.5).attrs()["c4n.factor"] == 0.5
