"""What the kernels of a model take on this machine, without its weights: each is built and timed.

- A projection's kernel is timed in one shape, for each n and dtype; the bytes that it reads per
  second stand for all projections that are stored like this. It goes through as many bytes as the
  whole model's step, so that caches hold what they would hold of the model.
- All other kernels (scan, convolution, norms, attention) are timed as they are, with inputs that
  stay in the cache, for one layer of each kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import Target, tvm
from tvm_c4n.compile.kernel_selection import KernelSelector, selector
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.model.description import Layer, ModelConfig
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.repack import panel_format
from tvm_c4n.ops.spec import (
    EmbeddingSpec,
    ExpertWeightsSpec,
    LinearSpec,
    OpSpec,
    QuantizeSpec,
    RmsNormSpec,
)
from tvm_c4n.ops.tir import Kernel
from tvm_c4n.plan.sizes import linear_spec
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.runtime import huge_pages, thread_pool
from tvm_c4n.sparsity import SCALE_GROUP, C4nWeight
from tvm_c4n.tuning.harness import COLD_BYTES, ENTRY, FILL, build_harness
from tvm_c4n.tuning.tasks import operators_of

# Short samples, and many: the least of them is one that no other program disturbed.
_SAMPLES, _SAMPLE_MS = 40, 1
_OF_WEIGHTS = (LinearSpec, ExpertWeightsSpec, EmbeddingSpec)
# No weight of a layer's own: enough for an embedding and a head to be there.
_FEW_WORDS = 64


@dataclass(frozen=True)
class Kernels:
    """Times kernels of a model.

    Attributes
    ----------
    config : ModelConfig
    threads : int
    """

    config: ModelConfig
    threads: int

    @cached_property
    def target(self) -> Target:
        """What kernels are built for."""
        return resolve_target("host")

    @cached_property
    def lanes(self) -> int:
        """Rows of a panel of repacked weights."""
        return isa_of(self.target).lanes

    @cached_property
    def _selector(self) -> KernelSelector:
        return selector(self.target)

    def read_rate(self, choice: Choice, recipe: Recipe, token_bytes: int) -> float:
        """Return how many bytes/s a projection's kernel reads of weights that are stored like this.

        Parameters
        ----------
        choice : Choice
        recipe : Recipe
        token_bytes : int
            What a step of the whole model reads.
        """
        rows, cols = self._largest_shape()
        spec = linear_spec(rows, cols, choice, recipe, self.lanes)
        found = self._selector.for_weight_bytes(token_bytes)(spec)
        assert found is not None  # noqa: S101 - every family of kernels has a rule for weights
        secs = self._time(found[1], min(token_bytes, 2 * COLD_BYTES))
        return prod(panel_format(spec).layout.shape) / secs

    def other_secs(self) -> tuple[float, float]:
        """Return what all kernels but those of projections take in a step.

        Returns
        -------
        tuple of float
            Seconds without the kernels that quantise activations, and of these, which integer
            weights need.
        """
        secs = {False: 0.0, True: 0.0}
        for layer, count in _kinds_of_layers(self.config):
            for spec, calls in self._operators(layer).items():
                found = self._selector(spec)
                if found is not None:  # else its plain definition, which moves a number
                    quantizes = isinstance(spec, QuantizeSpec)
                    secs[quantizes] += count * calls * self._time(found[1], 0)
        return secs[False], secs[True]

    def _largest_shape(self) -> tuple[int, int]:
        """Return rows and columns of the largest matrix that recipes prune."""
        shapes = self.config.tensor_shapes()
        layers = (self.config.projections(layer).values() for layer in range(self.config.n_layer))
        found = [
            (shapes[p.weight][0] // (p.experts or 1), shapes[p.weight][1])
            for layer in layers
            for p in layer
            if p.pruned
        ]
        return max(found, key=prod)

    def _operators(self, layer: Layer) -> Counter[OpSpec]:
        """Count the calls of a layer's operators, projections aside."""
        alone = replace(self.config, layers=(layer,), vocab_size=_FEW_WORDS)
        calls = operators_of(build_model(alone, _Zeros(alone)), self.target, only="step")
        norm = next(spec for spec in calls if isinstance(spec, RmsNormSpec))
        calls[norm] -= 1  # the one before the head
        return Counter({s: n for s, n in calls.items() if not isinstance(s, _OF_WEIGHTS)})

    def _time(self, kernel: Kernel, cold_bytes: int) -> float:
        """Return the seconds of a kernel: the least, since other programs only slow it."""
        harness = build_harness(kernel, cold_bytes)
        library = tvm.compile(harness.mod, self.target).jit()
        arguments = [_tensor(each.shape, each.dtype) for each in harness.arguments]
        thread_pool.use(self.threads)
        library[FILL](*arguments)
        library[ENTRY](*arguments)
        timer = library.time_evaluator(
            ENTRY, tvm.cpu(), number=1, repeat=_SAMPLES, min_repeat_ms=_SAMPLE_MS
        )
        return float(min(timer(*arguments).results)) / harness.repeats


class _Zeros:
    """The weights of a model that nobody has: all zero, in int8."""

    def __init__(self, config: ModelConfig) -> None:
        self._shapes, self._weights = config.tensor_shapes(), set(config.weights())

    def dense(self, name: str) -> NDArray[np.float32]:
        """Return a tensor."""
        return np.zeros(self._shapes[name], np.float32)

    def weight(self, name: str) -> C4nWeight | None:
        """Return a weight; None for other tensors."""
        if name not in self._weights:
            return None
        rows, cols = self._shapes[name]
        # Not from a dense one: that of all experts of a layer would take a gigabyte.
        values = np.zeros((rows, cols), np.int8)
        scales = np.zeros((rows, -(-cols // SCALE_GROUP)), np.float16)
        return C4nWeight(rows, cols, 0, "int8", SCALE_GROUP, values, scales=scales)


def _kinds_of_layers(config: ModelConfig) -> Iterator[tuple[Layer, int]]:
    """Yield a layer of each kind, and how many there are."""
    kinds: dict[Any, list[Layer]] = {}
    for layer in config.layers:
        shapes = ((block.kind, *block.tensors().values()) for block in layer.blocks)
        kinds.setdefault(tuple(shapes), []).append(layer)
    return ((layers[0], len(layers)) for layers in kinds.values())


def _tensor(shape: tuple[int, ...], dtype: str) -> Any:
    size_bytes = prod(shape) * np.dtype(dtype).itemsize
    return tvm.runtime.from_dlpack(huge_pages.allocate(size_bytes).view(dtype).reshape(shape))
