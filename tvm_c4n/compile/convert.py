"""What `build` does to a module's dense layers: nothing lossy, unless a recipe is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relay_passes.rewrite_dense_to_c4n import Convert, lossless
from tvm_c4n.errors import RecipeError
from tvm_c4n.sparsity import GROUP, C4nWeight, from_dense, mask_from_scores
from tvm_c4n.sparsity.pattern import detect_removed

if TYPE_CHECKING:
    from tvm_c4n.pruning.recipe import Recipe


def converter(recipe: Recipe | None) -> Convert:
    """Return how a weight is packed.

    Parameters
    ----------
    recipe : Recipe, optional
        Without one, weights that obey a pattern are packed as they are. With one, every dense
        layer whose columns groups of 4 fill loses ``recipe.removed`` of every 4 weights, the
        smallest first, or as many as it lost before, and is stored as ``recipe.dtype``.

    Raises
    ------
    RecipeError
        The recipe needs calibration data or names projections, which a module has not.
    """
    if recipe is None:
        return lossless
    if recipe.method != "magnitude":
        raise RecipeError(
            f"method={recipe.method!r} needs calibration data, which a module has not: "
            "use method='magnitude' here, or tvm_c4n.prune on a model folder"
        )
    if not isinstance(recipe.removed, int):
        raise RecipeError("removed names projections, which a module has not: use one number here")
    removed, dtype = recipe.removed, recipe.dtype

    def convert(weight: NDArray[Any]) -> C4nWeight | None:
        if weight.shape[1] % GROUP or not np.isfinite(weight).all():
            return None
        here = max(removed, detect_removed(weight))
        mask = mask_from_scores(np.abs(weight), here)
        group = recipe.group_of(here)
        return from_dense(weight, here, dtype, mask=mask, scale_group=group)

    return convert
