"""Formulas that several kinds of blocks share, in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# float64, or float32 where the model was made with that.
Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``."""
    # tanh neither overflows nor warns at either end.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``."""
    return np.asarray(x * sigmoid(x))


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, without overflow."""
    return np.asarray(np.logaddexp(x, x.dtype.type(0)))


def rms_norm(x: Array, eps: float) -> Array:
    """``x / sqrt(mean(x^2) + eps)`` over the last axis."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps))


def causal_conv(x: Array, weight: Array, past: Array) -> tuple[Array, Array]:
    """Convolve every channel over time.

    Parameters
    ----------
    x : (t, d)
    weight : (d, 1, k)
    past : (k - 1, d)
        The last inputs, oldest first.

    Returns
    -------
    (t, d), and the past of what follows.
    """
    padded = np.concatenate([past, x])
    y = sum(padded[i : i + len(x)] * weight[:, 0, i] for i in range(weight.shape[2]))
    return np.asarray(y), padded[len(x) :]


def rotate(x: Array, first: int, theta: float, rotary: int) -> Array:
    """Rotate the first channels of each head, their halves as pairs, by the tokens' places.

    Parameters
    ----------
    x : (t, k, p)
    first : int
        Place of the first token.
    theta : float
        Base of the frequencies.
    rotary : int
        How many channels.
    """
    places = np.arange(first, first + len(x), dtype=np.float32)
    # Frequencies and angles are float32 numbers, as in transformers.
    exponents = np.arange(0, rotary, 2, dtype=np.float32) / np.float32(rotary)
    frequencies = (1 / np.float64(theta) ** exponents).astype(np.float32)
    angles = np.outer(places, frequencies).astype(x.dtype)[:, None]
    cos, sin = np.cos(angles), np.sin(angles)
    low, high, rest = np.split(x, [rotary // 2, rotary], axis=-1)
    return np.concatenate([low * cos - high * sin, high * cos + low * sin, rest], axis=-1)
