"""Which kernel each operator gets: the one answer for whoever compiles, measures or counts kernels.

A kernel follows from the operator, the instruction set, the tuned decisions for the machine, and
whether a model's weights are too large for the cache. What is measured is what runs only if all of
these are the same, so everything that needs kernels takes its `KernelSelector` from `selector`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

import schedules
from relay_passes.lift_constants import constants_of
from tvm_c4n._tvm import IRModule, Target
from tvm_c4n.compile.host import Core, l3_bytes, measured_core
from tvm_c4n.compile.records import open_records, shipped_for
from tvm_c4n.compile.target import is_native
from tvm_c4n.ops.isa import AVX2, AVX512, OPENCL, Isa, isa_of
from tvm_c4n.ops.repack import PrefetchPolicy
from tvm_c4n.ops.spec import OpSpec
from tvm_c4n.ops.tir import Kernel

# Weights of that many L3 caches leave nothing there from one step to the next, so they may bypass
# it: docs/decisions/non-temporal-prefetch.md has the measurements.
STREAMING_CACHE_MULTIPLE = 3


@dataclass(frozen=True)
class KernelSelector:
    """Answers an operator with its kernel, as `relay_passes.BindSchedules` takes it.

    Attributes
    ----------
    target : tvm.target.Target
    isa : Isa
        The instruction set of `target`.
    tuned : callable or None
        Tuned decisions by operator; None: the defaults.
    policy : PrefetchPolicy
        How weights are prefetched.
    """

    target: Target
    isa: Isa
    tuned: schedules.Tuned | None = None
    policy: PrefetchPolicy = PrefetchPolicy.INTO_L2

    @property
    def gpu(self) -> bool:
        """Whether kernels are for a GPU."""
        return self.isa == OPENCL

    def __call__(self, spec: OpSpec) -> tuple[str, Kernel] | None:
        """Return the rule's name and the kernel; None where no rule applies."""
        return schedules.choose(spec, self.isa, self.tuned, policy=self.policy)

    def for_weights_of(self, mod: IRModule) -> KernelSelector:
        """Return the selector for a module with these constants, before any phase has run."""
        weights = [constant.value for constant in constants_of(mod)]
        sizes = (prod(w.shape) * np.dtype(str(w.dtype)).itemsize for w in weights)
        return self.for_weight_bytes(int(sum(sizes)))

    def for_weight_bytes(self, weight_bytes: int) -> KernelSelector:
        """Return the selector for a model whose weights have so many bytes."""
        return replace(self, policy=prefetch_policy(self.target, weight_bytes))


def selector(
    target: Target, records: str | Path | None = None, mod: IRModule | None = None
) -> KernelSelector:
    """Return what selects the kernels for a target.

    Parameters
    ----------
    target : tvm.target.Target
    records : path, optional
        Folder of `tvm_c4n.tune` for this target; default: what the package has for it, if anything.
    mod : IRModule, optional
        The module whose kernels are selected, its weights constants: they decide between prefetches
        into the caches and past them. Without one, prefetches go into the caches.

    Raises
    ------
    TuneError
        Records of another machine, or damaged ones.
    """
    tuned = tuned_for(target, records)
    found = KernelSelector(target, isa_of(target), tuned, prefetch_policy(target))
    return found if mod is None else found.for_weights_of(mod)


def tuned_for(target: Target, records: str | Path | None) -> schedules.Tuned | None:
    """Return what was tuned for a target: in a folder, else in the package; None: nothing."""
    found = shipped_for(target) if records is None else open_records(Path(records), target)
    return found.tuned() if found is not None else None


def prefetch_policy(target: Target, weight_bytes: int = 0) -> PrefetchPolicy:
    """Return how weights are prefetched in code for a target.

    With AVX-512 by what was measured on this CPU, else by what was measured at all.

    Parameters
    ----------
    target : tvm.target.Target
    weight_bytes : int
        What a step reads; 0: not known.
    """
    isa = isa_of(target)
    if isa == AVX2:
        return PrefetchPolicy.INTO_L1
    core = measured_core() if is_native(target) and isa == AVX512 else None
    if core is Core.GOLDEN_COVE:
        return PrefetchPolicy.INTO_L1
    if core is Core.ZEN4:
        return PrefetchPolicy.BY_CPU
    if core is Core.ZEN5 and _outgrow_cache(weight_bytes):
        return PrefetchPolicy.PAST_CACHES
    return PrefetchPolicy.INTO_L2


def _outgrow_cache(weight_bytes: int) -> bool:
    """Return whether a step's weights leave nothing of themselves in this machine's L3 cache.

    The scan's states can stay there then, unless the weights push them out.
    """
    cache_bytes = l3_bytes()
    return cache_bytes is not None and weight_bytes > STREAMING_CACHE_MULTIPLE * cache_bytes
