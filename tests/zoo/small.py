"""Small torch models, each with one thing that a rewrite can get wrong."""

from __future__ import annotations

import torch
from torch import nn

from tests.zoo.case import Case, torch_case


def mlp(removed: int, large: bool) -> Case:
    """Three linear layers, the middle one without bias, on three axes of activations."""
    torch.manual_seed(0)
    wide, tokens = (256, 16) if large else (48, 6)
    model = nn.Sequential(
        nn.Linear(wide, 4 * wide),
        nn.GELU(),
        nn.Linear(4 * wide, wide, bias=False),
        nn.ReLU(),
        nn.Linear(wide, 20),
    )
    return torch_case(model, [torch.randn(2, tokens, wide)], removed)


class _Shared(nn.Module):
    def __init__(self, wide: int):
        super().__init__()
        self.layer = nn.Linear(wide, wide)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(self.layer(x))) + self.layer(x)


def shared(removed: int, large: bool) -> Case:
    """One weight in three calls."""
    torch.manual_seed(1)
    wide = 512 if large else 32
    return torch_case(_Shared(wide), [torch.randn(1, wide)], removed)


def odd(removed: int, large: bool) -> Case:
    """Widths that neither groups of 4 nor vectors divide; one input without any batch axis."""
    torch.manual_seed(2)
    cols = 1020 if large else 52
    model = nn.Sequential(nn.Linear(cols, 37), nn.SiLU(), nn.Linear(37, 13), nn.Linear(13, 1))
    return torch_case(model, [torch.randn(cols)], removed)


class _ChannelsFirst(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Conv1d(channels, 2 * channels, 1)
        self.weight = nn.Linear(2 * channels, channels, bias=False)
        self.plane = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.weight.weight @ torch.relu(self.mix(x))
        return self.plane(y.unflatten(2, (2, -1)))


def channels_first(removed: int, large: bool) -> Case:
    """Dense layers whose channels are not the last axis: convolutions of kernel 1, and W @ x."""
    torch.manual_seed(3)
    channels, tokens = (96, 48) if large else (16, 10)
    return torch_case(_ChannelsFirst(channels), [torch.randn(2, channels, tokens)], removed)
