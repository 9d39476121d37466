"""The loop over the layers of a run, and the arena that holds the weights of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_passes.call_tir import address_of
from relay_passes.regions.kernel import LayerLoop
from relay_passes.regions.roll import LayerRun
from relay_passes.regions.signature import Weight
from tvm_c4n._tvm import GenericConst, GlobalVar, IRModule, relax
from tvm_c4n.ops.tir import CACHE_LINE


@dataclass(frozen=True)
class Arena:
    """The weights of all layers in one tensor, in the order in which a step reads them.

    Attributes
    ----------
    constant : GenericConst
        uint8; each weight begins at a cache line.
    starts : list of int
        Where each layer's weights begin, in cache lines.
    offsets : tuple of dict
        By region, then by name of a weight: bytes from a layer's first weight to this one.
    places : dict
        By address of a weight's data before: where it is now, in bytes.
    """

    constant: GenericConst
    starts: list[int]
    offsets: tuple[dict[str, int], ...]
    places: dict[int, int]


def pack_arena(run: LayerRun, regions: list[GlobalVar], known: Iterable[Arena] = ()) -> Arena:
    """Copy the weights of all layers into one tensor, unless one that is known has them so."""
    weights = [p.name for p in run.signature.params if isinstance(p.role, Weight)]
    offsets: tuple[dict[str, int], ...] = tuple({} for _ in regions)
    starts, copies, size = [], [], 0
    for call in run.calls:
        start = size
        starts.append(start // CACHE_LINE)
        for name in weights:
            constant = call.inputs[name]
            copies.append((size, constant))
            offsets[regions.index(call.gvar)][name] = size - start
            size += -(-_size_bytes(constant.value) // CACHE_LINE) * CACHE_LINE
    places = {address_of(constant): at for at, constant in copies}
    for arena in known:
        if arena.places == places:
            return replace(arena, starts=starts, offsets=offsets)
    data: NDArray[np.uint8] = np.zeros(size, np.uint8)
    for at, constant in copies:
        flat = constant.value.numpy().reshape(-1).view(np.uint8)
        data[at : at + flat.size] = flat
    return Arena(relax.const(data), starts, offsets, places)


def layer_loop(
    mod: IRModule, run: LayerRun, regions: list[GlobalVar], arena: Arena
) -> tuple[LayerLoop, list[Any]]:
    """Return the loop over a run's layers, and a value for each of its parameters."""
    loop = LayerLoop(
        regions=tuple(mod[gvar] for gvar in regions),
        layers=len(run.calls),
        layer=run.signature,
        offsets=arena.offsets,
        arena_bytes=int(arena.constant.value.shape[0]),
    )
    rows = [
        (regions.index(call.gvar), start)
        for call, start in zip(run.calls, arena.starts, strict=True)
    ]
    first = run.calls[0].inputs
    _, _, *kept = loop.signature.params
    values = [relax.const(np.array(rows, np.uint32)), arena.constant]
    return loop, [*values, *(first[param.name] for param in kept)]


def _size_bytes(tensor: Any) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(str(tensor.dtype)).itemsize
