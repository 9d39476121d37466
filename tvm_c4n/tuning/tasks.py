"""What there is to tune in a model: its operators, each once, with the calls of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import schedules
from relay_passes.call_tir import callee_spec
from relay_passes.pipeline import c4n_pipeline
from schedules.base import Space
from tvm_c4n._tvm import IRModule, Target, name_of, relax, tvm
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.kernel_selection import prefetch_policy
from tvm_c4n.compile.records import key_of, title_of
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import OpSpec

# Decisions as a key of dictionaries: (name, value), sorted by name.
DecisionKey: TypeAlias = tuple[tuple[str, int], ...]


def decision_key(decisions: Mapping[str, int]) -> DecisionKey:
    """Return decisions as a key of dictionaries."""
    return tuple(sorted(decisions.items()))


def default_of(space: Space) -> DecisionKey:
    """Return the decisions of a rule for what nobody has tuned: the first of each."""
    return decision_key({name: choices[0] for name, choices in space.items()})


@dataclass(frozen=True)
class Task:
    """An operator with decisions to make.

    Attributes
    ----------
    spec : OpSpec
    calls : int
        How often the model's functions call it.
    space : mapping
        Candidates by decision, the default first.
    """

    spec: OpSpec
    calls: int
    space: Space

    def __str__(self) -> str:
        return title_of(key_of(self.spec))

    @property
    def default(self) -> DecisionKey:
        """The decisions of the rule when nothing is tuned."""
        return default_of(self.space)


def tasks_of(model: IRModule | str | Path, target: Target) -> list[Task]:
    """Collect the tunable operators of a model, the most called first.

    Parameters
    ----------
    model : IRModule, str or Path
        A Relax module, or what `compile_model` takes.
    target : tvm.target.Target
    """
    isa, policy = isa_of(target), prefetch_policy(target)
    found = [
        Task(spec, n, schedules.space_of(spec, isa, policy))
        for spec, n in operators_of(model, target).items()
    ]
    tunable = [task for task in found if task.space]
    return sorted(tunable, key=lambda task: (-task.calls, str(task)))


def operators_of(
    model: IRModule | str | Path, target: Target, *, only: str | None = None
) -> Counter[OpSpec]:
    """Count the calls of each C4n operator of a model, its weights repacked for a target.

    Parameters
    ----------
    model, target
        As for `tasks_of`.
    only : str, optional
        Count in this function of the module alone.
    """
    mod = model if isinstance(model, IRModule) else _mamba(model)
    with tvm.transform.PassContext(opt_level=3), target:
        mod = c4n_pipeline(isa_of(target).lanes, lambda _: None).until("bind")(mod)
    calls: Counter[OpSpec] = Counter()
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function) and only in (None, name_of(gvar)):
            relax.analysis.post_order_visit(func, lambda e: _count(mod, e, calls))
    return calls


def _mamba(model: str | Path) -> IRModule:
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    check_tensors(config, checkpoint)
    return build_model(config, checkpoint)


def _count(mod: IRModule, expr: Any, calls: Counter[OpSpec]) -> None:
    if isinstance(expr, relax.Call):
        spec = callee_spec(mod, expr)
        if spec is not None:
            calls[spec] += 1
