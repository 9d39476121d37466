"""The claim of the method, on the embedded model: less output error than SparseGPT everywhere."""

import pytest

from tvm_c4n.pruning import Recipe, prune


@pytest.mark.slow
def test_obs_beats_sparsegpt_on_every_pruned_projection(tmp_path):
    reports = {}
    for method in ("obs", "sparsegpt"):
        recipe = Recipe(removed=2, method=method, samples=32, sample_tokens=128)
        reports[method] = prune("mamba-19m", tmp_path / method, recipe, dense_export=False)
    for projection in ("in_proj", "out_proj"):
        ours, theirs = (reports[m].mean_error(projection) for m in ("obs", "sparsegpt"))
        assert ours < 0.95 * theirs
        assert ours < 0.9 * reports["obs"].mean_error(projection, "masked_error")
