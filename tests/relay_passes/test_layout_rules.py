"""The rules of layout elimination: every pair has one, and the docstring shows them."""

from __future__ import annotations

from relay_passes import eliminate_layout
from relay_passes.analysis import Kind
from relay_passes.layout_rules import RULES, Action, rules_table


def test_every_pair_with_a_layout_op_has_a_rule() -> None:
    with_layout = {(Kind.LAYOUT, kind) for kind in Kind} | {(kind, Kind.LAYOUT) for kind in Kind}
    assert set(RULES) == with_layout


def test_the_docstring_of_the_pass_is_the_table() -> None:
    assert rules_table() in (eliminate_layout.__doc__ or "")


def test_only_fixed_kernels_keep_a_layout_op() -> None:
    kept = {pair for pair, rule in RULES.items() if rule.action == Action.KEEP}
    assert kept == {(Kind.LAYOUT, Kind.FIXED), (Kind.FIXED, Kind.LAYOUT)}
