"""Weights of a larger Mamba-1 that computes what a small one does, to start a training from.

Twice as wide: every channel is there twice, and what reads a pair shares its weight between the two
in random parts, so that their gradients differ (Net2WiderNet: Chen et al., "Net2Net", 2016; in
parts that differ: Wang et al., "LEMON", 2024). Deeper: copies of layers lie in between that add
nothing at first, their out_proj being zero.
"""

import numpy as np

# A pair shares a weight w as u * w and (1 - u) * w.
PARTS = (0.25, 0.75)


def grown_tensors(small, config, seed):
    """Grow a checkpoint.

    Parameters
    ----------
    small : Checkpoint
        Of Mamba-1, its head tied to the embeddings.
    config : ModelConfig
        Of the large model: the inner size, the hidden size and the rank of dt are twice the small
        one's, the states as many, the layers at least as many.
    seed : int

    Returns
    -------
    dict of str to float32 array
    """
    rng = np.random.default_rng(seed)
    tensors = {name: small.dense(name) for name in small.names()}
    old = len({name.split(".")[2] for name in tensors if ".layers." in name})
    sources = [index * old // config.n_layer for index in range(config.n_layer)]
    found = {
        "backbone.embeddings.weight": np.tile(tensors["backbone.embeddings.weight"], (1, 2)),
        # The tied head sums over both of a pair.
        "backbone.norm_f.weight": np.tile(tensors["backbone.norm_f.weight"] / 2, 2),
    }
    for index, source in enumerate(sources):
        layer = _wider_layer(tensors, source, rng)
        if index and sources[index - 1] == source:
            layer["mixer.out_proj.weight"] = np.zeros_like(layer["mixer.out_proj.weight"])
        found |= {f"backbone.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in found.items()}


def _wider_layer(tensors, index, rng):
    """Return one layer's tensors, without their prefix."""
    prefix = f"backbone.layers.{index}."
    of = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    both = ("norm.weight", "mixer.conv1d.weight", "mixer.conv1d.bias", "mixer.dt_proj.bias")
    both += ("mixer.A_log", "mixer.D")
    wide = {name: np.concatenate([of[name], of[name]]) for name in both}
    x, z = np.split(of["mixer.in_proj.weight"], 2)
    wide["mixer.in_proj.weight"] = _shared(np.concatenate([x, x, z, z]), rng)
    low, states = np.split(of["mixer.x_proj.weight"], [of["mixer.dt_proj.weight"].shape[1]])
    wide["mixer.x_proj.weight"] = _shared(np.concatenate([low, low, states]), rng)
    for name in ("mixer.dt_proj.weight", "mixer.out_proj.weight"):
        wide[name] = _shared(np.concatenate([of[name], of[name]]), rng)
    return wide


def _shared(weight, rng):
    """(rows, cols) -> (rows, 2 cols), the same sum of products over pairs of columns."""
    part = rng.uniform(*PARTS, weight.shape)
    return np.concatenate([weight * part, weight * (1 - part)], axis=1)
