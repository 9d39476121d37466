"""A first look at the dense model: in which order its channels are best pruned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS, MambaConfig
from tvm_c4n.prune.calibrate import gram
from tvm_c4n.prune.permute import ROWS, Permuted, find_order, removal_scores
from tvm_c4n.prune.recipe import Choice, Recipe
from tvm_c4n.prune.stream import Stream, batches
from tvm_c4n.prune.torch_mamba import Layer
from tvm_c4n.sparsity import GROUP


def permuted(
    checkpoint: Checkpoint,
    config: MambaConfig,
    recipe: Recipe,
    plan: Mapping[str, Choice],
    windows: Tensor,
    note: Callable[[int], None],
) -> Checkpoint:
    """Put the channels of a model into the order that pruning by ``plan`` loses least with.

    The dense model reads the first batch of calibration windows, one layer in memory at a time.

    Parameters
    ----------
    checkpoint, config, recipe, plan
        What is going to be pruned, and how.
    windows : (b, t) int64
    note : callable
        Called with the index of each layer when it is done.

    Returns
    -------
    Checkpoint
        The same model, its tensors in the new order.
    """
    stream = Stream(torch.from_numpy(checkpoint.dense(EMBEDDINGS))[next(batches(windows))])
    inner: dict[int, Tensor] = {}
    shared: list[Tensor] = []
    generator = torch.Generator().manual_seed(recipe.seed)
    for index in range(config.layers):
        layer = Layer.load(checkpoint, config, index)
        stream.enter(layer)
        for projection in PROJECTIONS:
            removed = plan[config.projection(index, projection)].removed
            if removed and projection in ("in_proj", "out_proj"):
                weight = layer.projections[projection]
                scores = removal_scores(weight, gram([stream.inputs]), recipe.damp)
                if projection == "in_proj":
                    few = torch.randperm(len(scores), generator=generator)
                    shared.append(scores[few[: max(1, 4 * ROWS // config.layers)]])
                elif config.inner % GROUP == 0:
                    inner[index] = find_order(scores, removed, recipe.seed)
            stream.pass_through(layer, projection)
        note(index)
    hidden = None
    if shared:
        ns = (plan[config.projection(i, "in_proj")].removed for i in range(config.layers))
        usual = Counter(n for n in ns if n).most_common(1)[0][0]
        hidden = find_order(torch.cat(shared), usual, recipe.seed, rows=4 * ROWS)
    return Permuted(checkpoint, config, hidden, inner)
