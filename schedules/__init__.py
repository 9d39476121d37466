"""Schedules of C4n operators: rules that write fast bodies for an instruction set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from schedules.attention import Attention
from schedules.base import Decisions, Rule, Space, Tunable
from schedules.c4n_batch_gemm import C4nBatchGemm
from schedules.c4n_gemm import C4nGemm
from schedules.c4n_gemv import C4nGemv
from schedules.c4n_tile_gemm import C4nTileGemm
from schedules.c4n_unpacked_gemm import C4nUnpackedGemm
from schedules.conv1d import Conv1d
from schedules.delta_rule import DeltaRule
from schedules.elementwise import Quantize, RmsNorm, RmsNormParts
from schedules.expert_gemm import ExpertGemm
from schedules.expert_gemv import ExpertGemv
from schedules.expert_rows import ExpertMix, ExpertSpread
from schedules.intrin import intrinsics_of
from schedules.opencl import choose as choose_opencl
from schedules.relu_squared import ReluSquared
from schedules.rotary import Rotary
from schedules.route import Route
from schedules.selective_scan import SelectiveScan
from schedules.ssd_scan import SsdScan
from schedules.swiglu import Swiglu
from tvm_c4n.ops.isa import OPENCL, Isa
from tvm_c4n.ops.repack import PrefetchPolicy
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel

# PyPI has an unrelated package of this name; tvm_c4n checks that it imported this one.
OWNER = "tvm_c4n"

# In order: the first rule that answers writes the kernel.
RULES: tuple[Rule, ...] = (
    C4nGemv(),
    ExpertGemv(),
    C4nTileGemm(),
    C4nUnpackedGemm(),
    C4nGemm(),
    C4nBatchGemm(),
    SelectiveScan(),
    SsdScan(),
    DeltaRule(),
    Conv1d(),
    RmsNorm(),
    RmsNormParts(),
    Quantize(),
    Swiglu(),
    Route(),
    ExpertGemm(),
    ExpertSpread(),
    ExpertMix(),
    ReluSquared(),
    Attention(),
    Rotary(),
)
# Answers with the decisions that tuning found for an operator, or None.
Tuned = Callable[[OpSpec], Decisions | None]


def _rules(policy: PrefetchPolicy) -> tuple[Rule, ...]:
    """Return the rules, those of weight streams with this policy."""
    streams = (C4nGemv(policy=policy), ExpertGemv(policy=policy))
    return (*streams, *RULES[len(streams) :])


def space_of(spec: OpSpec, isa: Isa, policy: PrefetchPolicy = PrefetchPolicy.INTO_L2) -> Space:
    """Return what tuning can decide for an operator; empty where nothing is left open."""
    intrin = intrinsics_of(isa)
    for rule in _rules(policy):
        if rule(spec, intrin) is not None:
            return rule.space(spec, intrin) if isinstance(rule, Tunable) else {}
    return {}


def choose(
    spec: OpSpec,
    isa: Isa,
    tuned: Tuned | None = None,
    *,
    policy: PrefetchPolicy = PrefetchPolicy.INTO_L2,
) -> tuple[str, Kernel] | None:
    """Ask the rules in order.

    Parameters
    ----------
    spec : OpSpec
    isa : Isa
    tuned : callable, optional
        Answers that do not fit the rule's space (of another version) count as none.
    policy : PrefetchPolicy
        How a step's weights are prefetched.

    Returns
    -------
    tuple or None
        The name of the first rule that answers and its kernel; None where no rule applies. A tuned
        kernel's name says what was decided: ``c4n_gemv[panels=2, prefetch_distance=4096]``.
    """
    if isa == OPENCL:
        return choose_opencl(spec)
    intrin = intrinsics_of(isa)
    for rule in _rules(policy):
        kernel = rule(spec, intrin)
        if kernel is None:
            continue
        if tuned is None or not isinstance(rule, Tunable):
            return rule.name, kernel
        decisions = tuned(spec)
        if decisions is None or not fits(decisions, rule.space(spec, intrin)):
            return rule.name, kernel
        said = ", ".join(f"{name}={value}" for name, value in decisions.items())
        kernel = replace(cast(Any, rule), **decisions)(spec, intrin)
        assert kernel is not None  # noqa: S101 - decisions do not change what a rule applies to
        return f"{rule.name}[{said}]", kernel
    return None


def fits(decisions: Decisions, space: Space) -> bool:
    """Return whether decisions name one candidate for each decision of a space."""
    return decisions.keys() == space.keys() and all(
        decisions[name] in choices for name, choices in space.items()
    )


__all__ = ["OWNER", "RULES", "Rule", "Tuned", "choose", "fits", "intrinsics_of", "space_of"]
