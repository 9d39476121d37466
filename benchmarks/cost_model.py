"""Bytes and instructions of a decoded token, predicted from the model's shapes.

Bytes follow from the format alone. Instructions are a cost per unit of work (a dot product of 16
numbers, a vector of four states, ...) times the units that the shapes ask for; the costs are those
counted on the emulated Arm core for one size (`python -m benchmarks.run arm`), so that other sizes
are predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from benchmarks.shapes import Format, config_of
from tvm_c4n.model.config import EMBEDDINGS, PROJECTIONS, MambaConfig
from tvm_c4n.sparsity import default_scale_group

_VALUE_BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}
_CODE_BITS = {0: 0, 1: 2, 2: 4, 3: 2}
"""Of a group of four weights, by the number that is removed."""
_SCALE_BITS = 16


@dataclass(frozen=True)
class Phone:
    """A machine that nothing was measured on."""

    name: str
    bandwidth_gbs: float
    cores: int
    ghz: float
    insns_per_cycle: float


PHONE = Phone("4 big cores at 2.5 GHz, 2 instructions a cycle, 50 GB/s", 50, 4, 2.5, 2.0)
"""A guess at a phone of 2023; see `phone_rate`."""


def bits_per_weight(dtype: str, removed: int) -> float:
    """Return what one weight of the dense matrix costs: kept values, positions and scales."""
    kept = _VALUE_BITS[dtype] * (4 - removed) / 4
    integer = dtype.startswith("int")
    scales = _SCALE_BITS / default_scale_group(removed) if integer else 0.0
    return kept + _CODE_BITS[removed] / 4 + scales


def bytes_per_token(size: str, form: Format) -> int:
    """Predict the bytes of weights that a decode step reads.

    The head is read whole (the embedding is one row of it), small tensors are float32, but A is
    float16 beside integers.
    """
    a_bytes, total = 2 if form.dtype.startswith("int") else 4, 0.0
    for name, shape in MambaConfig.from_hf(config_of(size)).tensor_shapes().items():
        kind = "head" if name == EMBEDDINGS else name.split(".")[-2]
        if kind in (*PROJECTIONS, "head") and name.endswith(".weight"):
            total += prod(shape) * bits_per_weight(*form.of(kind)) / 8
        else:
            total += prod(shape) * (a_bytes if name.endswith("A_log") else 4)
    return round(total)


def state_bytes(size: str) -> int:
    """Return the bytes of state that a step reads, and writes; they stay in the caches."""
    config = MambaConfig.from_hf(config_of(size))
    return 4 * config.n_layer * config.d_inner * (config.d_state + config.d_conv - 1)


def work(size: str, form: Format) -> dict[str, float]:
    """Return the units of work of a step by stage: vectors of 16 weights or of 4 float32."""
    c = MambaConfig.from_hf(config_of(size))
    shapes = {
        "in_proj": (2 * c.d_inner, c.d_model),
        "x_proj": (c.dt_rank + 2 * c.d_state, c.d_inner),
        "dt_proj": (c.d_inner, c.dt_rank),
        "out_proj": (c.d_model, c.d_inner),
    }
    units = {
        name: c.n_layer * rows * cols * (4 - form.of(name)[1]) / 4 / 16
        for name, (rows, cols) in shapes.items()
    }
    units["head"] = c.vocab_size * c.d_model / 16
    units["selective_scan"] = c.n_layer * c.d_inner * c.d_state / 4
    units["conv1d"] = c.n_layer * c.d_inner * c.d_conv / 4
    return units


def calibrate(count: dict[str, Any], size: str, form: Format) -> dict[str, float]:
    """Return the instructions per unit of each stage, from the count of one size.

    Parameters
    ----------
    count : dict
        A row of `benchmarks.arm`: ``stages``, each with ``name`` and ``insns``.
    size, form
        Of the model that was counted.

    Returns
    -------
    dict
        Also ``"rest"``: what is left, per layer and hidden column (norms, quantisation, calls).
    """
    units = work(size, form)
    found: dict[str, float] = dict.fromkeys(units, 0.0)
    for stage in count["stages"]:
        # Kernels that share a loop are counted together: the heaviest of them names the unit.
        parts = stage["name"].split("+")
        name = "selective_scan" if "selective_scan" in parts else parts[0]
        if name in units:
            found[name] += stage["insns"] / units[name]
    rest = count["insns"] - sum(found[name] * units[name] for name in units)
    return {**found, "rest": rest / _small(size)}


def insns_per_token(costs: dict[str, float], size: str, form: Format) -> int:
    """Predict the Arm instructions of a token from the costs of `calibrate`."""
    units = work(size, form)
    rest = costs["rest"] * _small(size)
    return round(sum(costs[name] * count for name, count in units.items()) + rest)


def _small(size: str) -> int:
    config = MambaConfig.from_hf(config_of(size))
    return config.n_layer * config.d_model


def phone_rate(size: str, form: Format, insns: int, phone: Phone = PHONE) -> tuple[float, str]:
    """Extrapolate to a phone: tokens per second at most, and what limits them.

    Bytes and instructions are taken to overlap perfectly; nothing of this was measured.
    """
    by_memory = phone.bandwidth_gbs * 1e9 / bytes_per_token(size, form)
    by_cores = phone.cores * phone.ghz * 1e9 * phone.insns_per_cycle / insns
    return min((by_memory, "memory"), (by_cores, "instructions"))
