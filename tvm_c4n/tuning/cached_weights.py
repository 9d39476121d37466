"""Whether weights stay in the cache from one step of a model to the next.

A small model's do where the cache is large and this machine's own, and do not where neighbours use
it. Kernels take up to twice as long with weights from memory, so it is not guessed: of two whole
models the dense layers take longer in one, by so much as their kernels say with weights in cache,
or by so much as they say with weights from memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.ops.spec import LinearSpec, OpSpec
from tvm_c4n.pruning.allocation.latency import Seconds
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.sparsity import GROUP, default_scale_group, size_bytes
from tvm_c4n.tuning.dense_layers import DenseLayers, Shape
from tvm_c4n.tuning.harness import COLD_BYTES

_FLOAT_BYTES = 4
# A step has states and activations besides, and its weights come from many places: a model that is
# a little larger than the cache keeps nothing there, where a loop over one matrix keeps a part.
ROOM = 1.5
# No cache that we know holds more: `COLD_BYTES` are twice as much. A model that is larger reads
# from memory, though a loop over its bytes finds a part of them in the cache.
LARGEST_CACHE = COLD_BYTES // 2


class Timer(Protocol):
    """The part of `KernelTimer` that is needed."""

    def times(self, wanted: Mapping[OpSpec, int]) -> dict[OpSpec, Seconds]:
        """Time kernels, which cycle through so many bytes."""
        ...


def bytes_of_a_model(config: ModelConfig, choice: Choice) -> int:
    """Return the bytes of cache that a step uses, all weights stored alike; at most `COLD_BYTES`.

    Parameters
    ----------
    config : ModelConfig
    choice : Choice
        Of weights whose columns are no groups of 4, its dtype alone.
    """
    total = 0
    for name in config.weights():
        rows, cols = config.tensor_shapes()[name]
        removed = 0 if cols % GROUP else choice.removed
        group = default_scale_group(removed)
        total += size_bytes(rows, cols, removed, choice.dtype, group)
    return min(COLD_BYTES, round(ROOM * total))


def bytes_of_kernels(
    config: ModelConfig, layers: Sequence[DenseLayers], cached: bool
) -> dict[OpSpec, int]:
    """Return how many bytes each kernel cycles through.

    Of a generated token these are of weights. Of a prompt's chunk they are of all tensors: before a
    kernel is called again, all others of a layer have read and written theirs.

    Parameters
    ----------
    config : ModelConfig
    layers : sequence of DenseLayers
        All shapes of the model.
    cached : bool
        What `stay_cached` returned.
    """
    found: dict[OpSpec, int] = {}
    for each in layers:
        for choice, specs in each.step.items():
            used = bytes_of_a_model(config, choice)
            stays = cached and used <= LARGEST_CACHE
            found |= dict.fromkeys(specs, used if stays else COLD_BYTES)
    columns = sum(sum(each.shape) for each in layers if each.chunk)
    for each in layers:
        for specs in each.chunk.values():
            found |= dict.fromkeys(specs, MAX_TOKENS * columns * _FLOAT_BYTES)
    return found


def stay_cached(
    config: ModelConfig,
    layers: Sequence[DenseLayers],
    plans: tuple[Mapping[str, Choice], Mapping[str, Choice]],
    apart: float,
    timer: Timer,
) -> bool:
    """Return whether the difference of two models is rather that of kernels with cached weights.

    Parameters
    ----------
    config : ModelConfig
    layers : sequence of DenseLayers
        All shapes of the model.
    plans : tuple of mappings of tensor name to Choice
        How the two models are stored.
    apart : float
        By how many seconds a step of the second one takes longer.
    timer : Timer
    """
    count: Counter[tuple[Shape, Choice]] = Counter()
    for sign, plan in zip((-1, 1), plans, strict=True):
        for name, choice in plan.items():
            rows, cols = config.tensor_shapes()[name]
            count[(rows, cols), choice] += sign
    by_shape = {each.shape: each for each in layers}
    calls: Counter[OpSpec] = Counter()
    cached: dict[OpSpec, int] = {}
    for (shape, choice), number in count.items():
        for spec in by_shape[shape].step[choice] if number else ():
            if isinstance(spec, LinearSpec):
                calls[spec] += number
                cached[spec] = bytes_of_a_model(config, choice)
    if all(each == COLD_BYTES for each in cached.values()):
        return False

    def error(most_bytes: Mapping[OpSpec, int]) -> float:
        found = timer.times(most_bytes)
        return abs(sum(number * found[spec].median for spec, number in calls.items()) - apart)

    return error(cached) < error(dict.fromkeys(cached, COLD_BYTES))
