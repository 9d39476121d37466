"""Train the weights of a pruned layer until it gives what the dense one gives.

Compensation fits one projection at a time, by the statistics of its inputs. Here all that a layer
stores is trained at once by its output: kept weights and scales behind a straight-through rounding,
norms, convolution and the scan's parameters, while masks stay. Inputs are the student's residual
stream in front of the layer, what is wanted is the teacher's behind it (block reconstruction, as
BRECQ does for quantisation, Li et al. 2021, and EBFT for pruning, Guo et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import cos, pi
from typing import NamedTuple

import torch
from torch import Tensor

from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.healing.ops import TrainingOps
from tvm_c4n.healing.student import TrainedLayer
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.calibration.layer import Layer
from tvm_c4n.sparsity import AnyWeight

# Peak of the learning rate: it rises over WARMUP of the steps and falls as a cosine to 0.
LEARNING_RATE, WARMUP, BETAS = 1e-3, 0.05, (0.9, 0.98)
# Tokens of a step. More windows gain more than more tokens a step, or several passes.
STEP_TOKENS = 512


class Trained(NamedTuple):
    """A layer as it is stored after training.

    Attributes
    ----------
    layer : Layer
        With the stored values.
    weights : dict of tensor name to C4nWeight or StackedWeight
    tensors : dict of tensor name to Tensor
        All others, as float32 of values that float16 has.
    """

    layer: Layer
    weights: dict[str, AnyWeight]
    tensors: dict[str, Tensor]


def stream_error(streams: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Mean over tokens of ``||h - h'||^2 / ||h'||^2``, of residual streams (b, t, h)."""
    total, count = 0.0, 0
    for stream, other in zip(streams, wanted, strict=True):
        errors = (stream - other).square().mean(-1) * _token_weights(other)
        total, count = total + float(errors.sum()), count + errors.numel()
    return total / count


def _token_weights(wanted: Tensor) -> Tensor:
    """Return what squared errors count: streams are read through RMSNorm, so by their size."""
    return 1 / wanted.square().mean(-1).clamp_min(torch.finfo(wanted.dtype).tiny)


def train_layer(
    config: ModelConfig,
    index: int,
    layer: Layer,
    weights: Mapping[str, AnyWeight],
    inputs: Tensor,
    wanted: Tensor,
    seed: int = 0,
) -> Trained:
    """Train a layer on each window once.

    Parameters
    ----------
    config : ModelConfig
    index : int
        Of the layer.
    layer : Layer
        The pruned one, on the device to train on.
    weights : mapping of tensor name to C4nWeight or StackedWeight
        Its projections as pruned.
    inputs, wanted : (windows, t, h) float32
        The student's residual stream in front of the layer, the teacher's behind it.
    seed : int
        With the layer's index it draws the order of the windows.
    """
    work = torch.bfloat16 if inputs.is_cuda else torch.float32
    small = {name: tensor.cpu().numpy() for name, tensor in layer.tensors.items()}
    source = ArrayCheckpoint({}, {**small, **weights})
    with torch.enable_grad():
        trained = TrainedLayer(source, config, index, TrainingOps(work)).to(inputs.device)
        optimizer = torch.optim.Adam(trained.parameters(), lr=LEARNING_RATE, betas=BETAS)
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed + index))
        steps = order.to(inputs.device).split(max(1, STEP_TOKENS // inputs.shape[1]))
        for number, rows in enumerate(steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(number, len(steps))
            errors = (trained(inputs[rows]) - wanted[rows]).square().mean(-1)
            (errors * _token_weights(wanted[rows])).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return _stored(trained, layer, config, index)


def _rate(step: int, steps: int) -> float:
    rise = max(1, round(WARMUP * steps))
    return LEARNING_RATE * min(1.0, (step + 1) / rise) * 0.5 * (1 + cos(pi * step / steps))


def _stored(trained: TrainedLayer, layer: Layer, config: ModelConfig, index: int) -> Trained:
    """Return a trained layer as it is stored."""
    weights = {trained.prefix + name: m.packed() for name, m in trained.matrices.items()}
    tensors = {
        trained.prefix + name: vector.detach().half().float()
        for name, vector in trained.vectors.items()
    }
    projections = {
        p.name: torch.from_numpy(weights[p.weight].dense()).to(next(iter(tensors.values())).device)
        for p in config.projections(index).values()
    }
    return Trained(replace(layer, tensors=tensors, projections=projections), weights, tensors)
