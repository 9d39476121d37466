"""The dense layers of a model, by shape: which kernels each consists of, for every n and dtype."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, get_args

from tvm_c4n._tvm import Target
from tvm_c4n.model.config import MAX_TOKENS
from tvm_c4n.ops.c4n_linear import padded_cols
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.ops.spec import LinearSpec, OpSpec, QuantizeSpec
from tvm_c4n.pruning.allocation.latency import LatencyEntry, Seconds
from tvm_c4n.pruning.recipe import Choice, WeightDType
from tvm_c4n.sparsity import GROUP, default_scale_group
from tvm_c4n.tuning.tasks import operators_of

DTYPES: tuple[WeightDType, ...] = get_args(WeightDType)
# Rows and columns.
Shape: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class DenseLayers:
    """A shape's dense layers: the kernels of each choice, for a generated token and for a chunk.

    A head has no kernels for a chunk: it sees the last token alone.
    """

    shape: Shape
    step: dict[Choice, list[OpSpec]]
    chunk: dict[Choice, list[OpSpec]]

    @property
    def kernels(self) -> list[OpSpec]:
        """Each kernel once."""
        both = (*self.step.values(), *self.chunk.values())
        return list(dict.fromkeys(spec for specs in both for spec in specs))

    def entries(self, times: Mapping[OpSpec, Seconds], threads: int) -> Iterator[LatencyEntry]:
        """Make the rows of the table."""
        for choice, specs in self.step.items():
            of_chunk = [times[spec] for spec in self.chunk.get(choice, ())]
            yield LatencyEntry(
                rows=self.shape[0],
                cols=self.shape[1],
                removed=choice.removed,
                dtype=choice.dtype,  # type: ignore[arg-type]
                threads=threads,
                seconds=_sum(times[spec] for spec in specs),
                prompt_seconds=_sum(of_chunk, MAX_TOKENS) if of_chunk else None,
            )


def layers_of(model: str | Path, target: Target) -> list[DenseLayers]:
    """Return a model's dense layers, by ascending shape.

    Parameters
    ----------
    model, target
        As for `operators_of`.
    """
    lanes = isa_of(target).lanes
    step, chunk = (
        {(s.rows, s.cols): s for s in found if isinstance(s, LinearSpec) and s.dynamic == dynamic}
        for name, dynamic in (("step", False), ("prefill", True))
        for found in [operators_of(model, target, only=name)]
    )
    found = []
    for shape, layer in sorted(step.items()):
        of_chunk = chunk.get(shape)
        # A head has no chunk, and nothing is ever removed from it.
        numbers = range(GROUP if of_chunk and shape[1] % GROUP == 0 else 1)
        of_step = _by_choice(layer, lanes, numbers)
        found.append(
            DenseLayers(shape, of_step, _by_choice(of_chunk, lanes, numbers) if of_chunk else {})
        )
    return found


def _by_choice(layer: LinearSpec, lanes: int, numbers: Iterable[int]) -> dict[Choice, list[OpSpec]]:
    """Return the kernels of a layer for each n and dtype."""
    found: dict[Choice, list[OpSpec]] = {}
    for removed in numbers:
        for dtype in DTYPES:
            group = default_scale_group(removed) if dtype.startswith("int") else 0
            spec = replace(layer, removed=removed, dtype=dtype, scale_group=group, lanes=lanes)
            specs: list[OpSpec] = [spec]
            if spec.integer:
                padded, width = padded_cols(spec), spec.input_width
                specs.append(QuantizeSpec(spec.dynamic, spec.cols, group, padded, width))
            found[Choice(removed, dtype)] = specs
    return found


def _sum(parts: Iterable[Seconds], shared_by: int = 1) -> Seconds:
    """Add up kernels, for one of the tokens that share them."""
    found = list(parts)
    names = Seconds.model_fields
    return Seconds(**{name: sum(getattr(p, name) for p in found) / shared_by for name in names})
