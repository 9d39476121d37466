"""Mamba-1 in plain numpy, one formula per line: the oracle of every faster version.

Follows `transformers.MambaForCausalLM` (slow path) and, for the recurrence, equations 2 and 4 and
algorithm 2 of the Mamba paper. Axis letters: see `tvm_c4n.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.errors import C4nError
from tvm_c4n.model.config import EMBEDDINGS, FINAL_NORM, HEAD, MambaConfig

# float64, or float32 where the model was made with that.
Array = NDArray[Any]


@dataclass
class State:
    """What a model carries from token to token; zeros at the start of a text.

    Attributes
    ----------
    conv : (layers, k - 1, d)
        The last inputs of each convolution, oldest first.
    ssm : (layers, d, n)
        State of each selective scan.
    """

    conv: Array
    ssm: Array

    def copy(self) -> State:
        """Return a deep copy, with which the text can be resumed from here."""
        return State(self.conv.copy(), self.ssm.copy())


def _sigmoid(x: Array) -> Array:
    # tanh neither overflows nor warns at either end.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``."""
    return x * _sigmoid(x)


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, without overflow."""
    return np.asarray(np.logaddexp(x, x.dtype.type(0)))


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axis."""
    return np.asarray(weight * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps))


class Mamba:
    """A Mamba-1 language model whose state is explicit.

    Parameters
    ----------
    config : MambaConfig
    dense : callable
        ``dense(name)`` gives a tensor as a float array, for example `Checkpoint.dense`.
    dtype : numpy float type
        dtype of weights, activations and state: float64 (default) or float32.

    Attributes
    ----------
    state : State
        Advanced by `prefill` and `step`. Assigning a copy of an earlier one resumes from there.
    """

    def __init__(
        self, config: MambaConfig, dense: Callable[[str], Array], dtype: Any = np.float64
    ) -> None:
        self.config = config
        self.dtype = np.dtype(dtype)
        self._tensors = {
            name: np.asarray(dense(name), dtype=self.dtype) for name in config.tensor_shapes()
        }
        self.reset()

    def reset(self) -> None:
        """Forget the text: a state of zeros."""
        c = self.config
        self.state = State(
            np.zeros((c.n_layer, c.d_conv - 1, c.d_inner), dtype=self.dtype),
            np.zeros((c.n_layer, c.d_inner, c.d_state), dtype=self.dtype),
        )

    def prefill(self, ids: Sequence[int] | NDArray[Any]) -> Array:
        """Read tokens, continuing from ``state``.

        Parameters
        ----------
        ids : (t,) int

        Returns
        -------
        (t, v) float
            Row i: logits of the token after ``ids[i]``.

        Raises
        ------
        C4nError
            No tokens, or a token outside the vocabulary.
        """
        tokens = np.asarray(ids)
        if tokens.ndim != 1 or tokens.size == 0:
            raise C4nError(f"ids have shape {tokens.shape}; expected at least one token")
        if tokens.min() < 0 or tokens.max() >= self.config.vocab_size:
            raise C4nError(f"a token lies outside 0..{self.config.vocab_size - 1}")
        x = self._tensors[EMBEDDINGS][tokens]
        for layer in range(self.config.n_layer):
            norm = self._tensors[f"backbone.layers.{layer}.norm.weight"]
            x = x + self._mixer(layer, rms_norm(x, norm, self.config.eps))
        x = rms_norm(x, self._tensors[FINAL_NORM], self.config.eps)
        head = self._tensors[EMBEDDINGS if self.config.tie_embeddings else HEAD]
        return np.asarray(x @ head.T)

    def step(self, token: int) -> Array:
        """Read one token; returns the logits (v,) of the next one."""
        return np.asarray(self.prefill([token])[0])

    def _mixer(self, layer: int, u: Array) -> Array:
        """Run one mixer: (t, h) -> (t, h); advances the layer's state."""
        c, prefix = self.config, self.config.prefix(layer)

        def tensor(name: str) -> Array:
            return self._tensors[prefix + name]

        xz = u @ tensor("in_proj.weight").T  # t 2d
        x, z = xz[:, : c.d_inner], xz[:, c.d_inner :]
        x = silu(self._conv(layer, x))
        low = x @ tensor("x_proj.weight").T  # t (r + 2n)
        step, b, c_out = np.split(low, [c.dt_rank, c.dt_rank + c.d_state], axis=1)
        delta = softplus(step @ tensor("dt_proj.weight").T + tensor("dt_proj.bias"))  # t d
        y = self._scan(layer, x, delta, b, c_out)
        return np.asarray((y * silu(z)) @ tensor("out_proj.weight").T)

    def _conv(self, layer: int, x: Array) -> Array:
        """Convolve causally per channel: (t, d) -> (t, d); advances the layer's state."""
        prefix = self.config.prefix(layer)
        taps = self._tensors[prefix + "conv1d.weight"][:, 0]  # d k
        padded = np.concatenate([self.state.conv[layer], x])
        y = np.zeros_like(x)
        for i in range(self.config.d_conv):
            y += padded[i : i + len(x)] * taps[:, i]
        if self.config.conv_bias:
            y += self._tensors[prefix + "conv1d.bias"]
        self.state.conv[layer] = padded[len(x) :]
        return y

    def _scan(self, layer: int, x: Array, delta: Array, b: Array, c: Array) -> Array:
        """Scan selectively: (t, d), (t, d), (t, n), (t, n) -> (t, d); advances the state."""
        prefix = self.config.prefix(layer)
        a = -np.exp(self._tensors[prefix + "A_log"])  # d n
        state = self.state.ssm[layer]
        y = np.empty_like(x)
        for t in range(len(x)):
            decay = np.exp(delta[t, :, None] * a)
            state = decay * state + (delta[t] * x[t])[:, None] * b[t]
            y[t] = state @ c[t]
        self.state.ssm[layer] = state
        y += self._tensors[prefix + "D"] * x
        return y
