"""Random weights to start a training from, for every family."""

import math

import numpy as np

# As in Mamba (Gu and Dao, 2023) and Mamba-2 (Dao and Gu, 2024): the first step sizes, and how far
# apart the decays of Mamba-2's heads are.
STEPS = (1e-3, 0.1)
DECAYS = (1.0, 16.0)
EMBEDDING_STD = 0.02
# Projections that write into the residual stream, in all families.
_OUT = ("out_proj.weight", "o_proj.weight", "down_proj.weight", "output_linear.weight")


def initial_tensors(config, hf, seed):
    """Draw the tensors of a `ModelConfig`; returns float32 arrays by name."""
    rng = np.random.default_rng(seed)
    residuals = sum(len(layer.residuals) for layer in config.layers)
    out = 1.0 if hf.get("residual_multiplier", 1) != 1 else residuals**-0.5
    shapes = config.tensor_shapes()
    return {name: _draw(rng, name, shape, out).astype(np.float32) for name, shape in shapes.items()}


def _draw(rng, name, shape, out):
    last = name.rpartition(".")[0].rpartition(".")[2] + "." + name.rpartition(".")[2]
    if "norm" in name or name.endswith(".D"):
        return np.ones(shape)
    if name.endswith("A_log"):  # Mamba-2 has one for each head, Mamba-1 one for each entry
        many = len(shape) == 1
        decays = rng.uniform(*DECAYS, shape) if many else np.arange(1, shape[1] + 1)
        return np.broadcast_to(np.log(decays), shape)
    if name.endswith(("dt_bias", "dt_proj.bias")):
        low, high = map(math.log, STEPS)
        step = np.exp(rng.uniform(low, high, shape))
        return step + np.log(-np.expm1(-step))  # softplus gives the step
    if "embed" in name or "lm_head" in name:
        return rng.normal(0, EMBEDDING_STD, shape)
    if len(shape) == 1:
        return np.zeros(shape)
    bound = math.prod(shape[1:]) ** -0.5
    return rng.uniform(-bound, bound, shape) * (out if last in _OUT else 1.0)
