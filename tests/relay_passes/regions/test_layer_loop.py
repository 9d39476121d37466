"""The weight arena of a run of layers, and the arguments of the loop over them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from relay_passes.regions.layer_loop import layer_loop, pack_arena
from relay_passes.regions.roll import LayerRun, split_into_layer_runs
from tests.relay_passes.rolled_case import TURNS, turns
from tvm_c4n._tvm import relax

MOD = turns()
REGIONS = [MOD.get_global_var("turn")]


def only_run() -> LayerRun:
    """The three calls of the case."""
    (block,) = MOD["main"].body.blocks
    reads = Counter(v for b in block.bindings for v in relax.analysis.free_vars(b.value))
    parts = split_into_layer_runs(MOD, list(block.bindings), reads)
    (run,) = (part for part in parts if isinstance(part, LayerRun))
    return run


def test_the_arena_has_every_weight_at_a_cache_line() -> None:
    arena = pack_arena(only_run(), REGIONS)
    assert arena.starts == [0, 1, 2]
    assert arena.offsets == ({"weight": 0},)
    assert sorted(arena.places.values()) == [0, 64, 128]
    rows = arena.constant.value.numpy().view(np.float32).reshape(3, 16)
    np.testing.assert_array_equal(rows, np.pad(np.stack(TURNS), ((0, 0), (0, 8))))


def test_a_loop_gets_a_table_of_layers_the_arena_and_what_the_first_layer_gets() -> None:
    run = only_run()
    arena = pack_arena(run, REGIONS)
    loop, (table, weights, x) = layer_loop(MOD, run, REGIONS, arena)
    assert (loop.layers, loop.offsets, loop.arena_bytes) == (3, ({"weight": 0},), 192)
    # By layer: its region, and where its weights begin in cache lines.
    np.testing.assert_array_equal(table.value.numpy(), [[0, 0], [0, 1], [0, 2]])
    assert weights.same_as(arena.constant)
    assert x.same_as(MOD["main"].params[0])
