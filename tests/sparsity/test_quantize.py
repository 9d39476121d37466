"""Scales and codes: error bounds, awkward ranges, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvm_c4n.errors import C4nError
from tvm_c4n.sparsity import CODES, group_scales, mask_from_scores, quantize

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 40))
FLOATS = st.floats(-65504, 65504, width=32)


def restored(weight: np.ndarray, bits: int, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The quantised weight, and the step size under every element."""
    scales = group_scales(weight, bits, group)
    codes = quantize(weight, scales, bits, group)
    allowed = {8: range(-127, 128), 4: range(-8, 8), 3: range(-4, 4), 2: (-3, -1, 1, 3)}[bits]
    assert set(codes.ravel().tolist()) <= set(allowed)
    step = np.repeat(scales.astype(np.float64), group, axis=1)[:, : weight.shape[1]]
    return codes * step, np.abs(step)


@given(hnp.arrays(np.float32, SHAPES, elements=FLOATS), st.sampled_from([4, 8, 64]))
def test_int8_is_within_half_a_step(weight: np.ndarray, group: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, step = restored(weight, 8, group)
    assert (np.abs(values - weight) <= 0.5001 * step).all()


@given(
    hnp.arrays(np.float32, SHAPES, elements=FLOATS),
    st.sampled_from([4, 8, 64]),
    st.sampled_from([4, 3, 2]),
)
def test_few_bits_are_never_worse_than_the_plain_scale(
    weight: np.ndarray, group: int, bits: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, _ = restored(weight, bits, group)
    values = np.where(weight == 0, 0, values)  # zeros count as removed
    error = np.square(values - weight).sum()
    for start in range(0, weight.shape[1], group):
        part = weight[:, start : start + group]
        plain = (np.abs(part).max(axis=1) / CODES[bits].high).astype(np.float16)
        codes = np.where(part == 0, 0, quantize(part, plain[:, None], bits, group))
        chosen = np.square(values[:, start : start + group] - part).sum(axis=1)
        baseline = np.square(codes * plain.astype(np.float64)[:, None] - part).sum(axis=1)
        assert (chosen <= baseline * (1 + 1e-4) + 1e-30).all()
    assert np.isfinite(error)


def test_int4_beats_the_plain_scale_clearly_on_gaussians() -> None:
    weight = np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)
    values, _ = restored(weight, 4, 64)
    plain = (np.abs(weight.reshape(64, -1, 64)).max(axis=2) / 7).astype(np.float16)
    codes = quantize(weight, plain, 4, 64)
    baseline = codes * np.repeat(plain.astype(np.float32), 64, axis=1)
    assert np.square(values - weight).sum() < 0.9 * np.square(baseline - weight).sum()


@pytest.mark.parametrize(("bits", "most"), [(4, 0.0090), (3, 0.033), (2, 0.117)])
def test_gaussians_lose_what_their_bits_lose(bits: int, most: float) -> None:
    weight = np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)
    values, _ = restored(weight, bits, 64)
    assert np.square(values - weight).mean() < most


def test_two_bits_do_not_pay_for_removed_weights() -> None:
    weight = np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)
    mask = mask_from_scores(np.abs(weight), 2)
    kept = np.where(mask, weight, 0)
    values = np.where(mask, restored(kept, 2, 128)[0], 0)
    assert np.square(values - kept).sum() < 0.08 * np.square(kept).sum()


@pytest.mark.parametrize("sign", [1, -1])
def test_int4_spends_minus_eight_on_either_sign(sign: int) -> None:
    weight = sign * np.array([[8.0, 1.0, -3.0, 2.0]])
    scales = group_scales(weight, 4, 4)
    assert scales.tolist() == [[-sign]]
    assert quantize(weight, scales, 4, 4).tolist() == [[-8, -1, 3, -2]]


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_and_tiny_weights_give_no_nan(bits: int) -> None:
    weight = np.zeros((2, 8), dtype=np.float32)
    weight[1, 0] = 1e-30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scales = group_scales(weight, bits, 4)
        assert not scales[0].any()
        assert np.isfinite(scales).all()
        assert not quantize(weight, scales, bits, 4).any()


def test_a_scale_of_zero_makes_zeros() -> None:
    zero = np.zeros((1, 2), np.float16)
    for bits in (3, 4, 8):
        assert not quantize(np.full((1, 8), 3.0), zero, bits, 4).any()
    assert quantize(np.full((1, 8), 3.0), zero, 2, 4).tolist() == [[1] * 8]  # times zero


def test_short_last_group_and_half_to_even() -> None:
    weight = np.array([[1, 2, 3, 4, 100, 50.0]])
    assert group_scales(weight, 8, 4).shape == (1, 2)
    codes = quantize(np.array([[0.5, 1.5, -2.5, 200]]), np.ones((1, 1), np.float16), 8, 4)
    assert codes.tolist() == [[0, 2, -2, 127]]
    codes = quantize(np.array([[-9, -2.1, -1.9, 0.1]]), np.ones((1, 1), np.float16), 2, 4)
    assert codes.tolist() == [[-3, -3, -1, 1]]


def test_a_coarse_subnormal_scale_does_not_clip() -> None:
    weight = np.array([[1.1e-5, 0, 0, 0]], dtype=np.float32)  # / 127 lies between two subnormals
    values, step = restored(weight, 8, 4)
    assert abs(values[0, 0] - weight[0, 0]) <= step[0, 0] / 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "nan of row 1, col 2 is not finite"),
        (-np.inf, "-inf of row 1, col 2 is not finite"),
        (65505.0, "65505.0 of row 1, col 2 overflows float16"),
        (1e300, r"1e\+300 of row 1, col 2 is not finite"),
    ],
)
def test_weights_that_cannot_be_stored(value: float, message: str) -> None:
    weight = np.zeros((2, 4))
    weight[1, 2] = value
    with pytest.raises(C4nError, match=message):
        group_scales(weight, 8, 4)
    with pytest.raises(C4nError, match=message):
        quantize(weight, np.zeros((2, 1), np.float16), 4, 4)


def test_bad_arguments() -> None:
    weight = np.ones((2, 8))
    with pytest.raises(C4nError, match="bits=5 is not 8, 4, 3 or 2"):
        group_scales(weight, 5, 4)
    for scale_group in (0, -4, 6):
        with pytest.raises(C4nError, match=f"scale_group={scale_group}"):
            group_scales(weight, 8, scale_group)
    with pytest.raises(C4nError, match="shape"):
        quantize(weight, np.ones((2, 1), np.float16), 8, 4)
    with pytest.raises(C4nError, match="not finite in float16"):
        quantize(weight, np.full((2, 2), 1e6), 8, 4)
