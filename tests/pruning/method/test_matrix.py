"""One weight through every method: order of quality, formats, and degenerate inputs."""

import numpy as np
import pytest
import torch

from tvm_c4n.errors import C4nError
from tvm_c4n.pruning.method.criteria import keep_best, wanda_scores
from tvm_c4n.pruning.method.matrix import prune_matrix, relative_output_error, round_matrix
from tvm_c4n.pruning.recipe import METHODS, Choice
from tvm_c4n.sparsity import check_mask


def run(problem, method, removed, dtype="float16"):
    weight, statistics = (v.float() for v in problem(48, 192, seed=1))
    return prune_matrix(weight, statistics, Choice(removed, dtype), method=method, scale_group=32)


@pytest.mark.parametrize("removed", [1, 2, 3])
def test_obs_beats_sparsegpt_beats_masks_without_compensation(problem, removed):
    obs, sparsegpt, *masks = (run(problem, method, removed).output_error for method in METHODS)
    assert obs < 0.95 * sparsegpt
    assert sparsegpt < 0.95 * min(masks)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float16", "int8", "int4", "int3", "int2"])
def test_every_method_and_dtype_obeys_the_pattern(problem, method, dtype):
    pruned = run(problem, method, 2, dtype)
    check_mask(pruned.weight.mask(), 2)
    assert (pruned.weight.removed, pruned.weight.dtype) == (2, dtype)
    assert dtype == "int2" or pruned.masked_error >= 0.9 * pruned.output_error > 0
    floating = run(problem, method, 2).output_error
    most = {"int4": 1.15, "int3": 1.5, "int2": 3}.get(dtype, 1.01)
    assert pruned.output_error < most * floating


@pytest.mark.parametrize("dtype", ["int8", "int4", "int3", "int2"])
def test_dense_weights_lose_least_with_obs(problem, dtype):
    nearest, fed_back, ours = (
        run(problem, method, 0, dtype).output_error for method in ("wanda", "sparsegpt", "obs")
    )
    assert ours <= fed_back < 0.9 * nearest
    assert run(problem, "obs", 0, dtype).masked_error == 0


def test_parts_of_rows_are_independent(problem, monkeypatch):
    whole = run(problem, "obs", 2, "int4")
    monkeypatch.setattr("tvm_c4n.pruning.method.compensate.REFIT_ELEMENTS", 192 * 20)
    parts = run(problem, "obs", 2, "int4")
    # Each part decides when its refit is done, hence no exact equality.
    assert parts.output_error == pytest.approx(whole.output_error, rel=1e-2)
    assert (parts.weight.mask() == whole.weight.mask()).mean() > 0.99


@pytest.mark.parametrize("dtype", ["float16", "int8", "int4"])
@pytest.mark.parametrize("method", METHODS)
def test_the_values_are_what_is_packed(problem, method, dtype, monkeypatch):
    monkeypatch.setattr("tvm_c4n.pruning.method.matrix.row_blocks", lambda rows, cols: row_parts)
    row_parts = [slice(0, 7), slice(7, 48)]
    for removed in (0, 2):
        pruned = run(problem, method, removed, dtype)
        assert torch.equal(pruned.values, torch.from_numpy(pruned.weight.dense()))


def test_wanda_only_masks(problem):
    weight, statistics = (v.float() for v in problem(8, 32))
    pruned = prune_matrix(weight, statistics, Choice(2, "float16"), method="wanda")
    mask = keep_best(wanda_scores(weight, statistics), 2)
    expected = (weight * mask).half().float()
    np.testing.assert_array_equal(pruned.weight.dense(), expected.numpy())


def test_the_error_is_that_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    inputs, weight, other = (torch.randn(n, 8, generator=generator) for n in (50, 3, 3))
    expected = (inputs @ (weight - other).T).square().sum() / (inputs @ weight.T).square().sum()
    found = relative_output_error(weight, other, inputs.T @ inputs)
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert relative_output_error(weight * 0, weight * 0, torch.eye(8)) == 0


@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_are_always_zero_do_no_harm(problem, method):
    weight, statistics = (v.float() for v in problem(8, 32))
    statistics[:6] = 0
    statistics[:, :6] = 0
    pruned = prune_matrix(weight, statistics, Choice(2, "int8"), method=method, scale_group=32)
    assert np.isfinite(pruned.weight.dense()).all() and pruned.output_error < 1
    nothing = prune_matrix(weight, 0 * statistics, Choice(2, "int8"), method=method)
    assert np.isfinite(nothing.weight.dense()).all() and nothing.output_error == 0


def test_weights_that_no_file_should_hold_are_refused(problem):
    weight, statistics = (v.float() for v in problem(4, 32))
    weight[1, 2] = float("nan")
    for method in METHODS:
        with pytest.raises(C4nError, match="not finite"):
            prune_matrix(weight, statistics, Choice(2, "int8"), method=method)


def test_rounding_a_matrix_alone_has_the_error_of_white_inputs(problem):
    weight = problem(8, 64)[0].float()
    for dtype in ("int8", "float16"):
        rounded = round_matrix(weight, dtype, 32)
        stored = torch.from_numpy(rounded.weight.dense())
        expected = relative_output_error(weight, stored, torch.eye(64))
        assert rounded.output_error == pytest.approx(expected)
        assert 0 < rounded.output_error < 1e-4
        assert rounded.masked_error == 0
