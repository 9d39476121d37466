"""Vision models in torch: patches, shifted windows, convolutions."""

from __future__ import annotations

import torch
from torch import nn

from tests.zoo.case import Case, torch_case
from tests.zoo.language import _Block


class _Vit(nn.Module):
    def __init__(self, wide: int, side: int, patch: int):
        super().__init__()
        self.patch = nn.Conv2d(3, wide, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, wide))
        self.place = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, wide))
        self.blocks = nn.Sequential(_Block(wide, 4), _Block(wide, 4))
        self.norm, self.head = nn.LayerNorm(wide), nn.Linear(wide, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit(removed: int, large: bool) -> Case:
    """A vision transformer."""
    torch.manual_seed(0)
    wide, side = (96, 48) if large else (32, 16)
    return torch_case(_Vit(wide, side, 8), [torch.randn(1, 3, side, side)], removed)


def _windows(x: torch.Tensor, size: int) -> torch.Tensor:
    """``(batch, side, side, wide)`` to ``(batch * windows, size * size, wide)``."""
    batch, side, _, wide = x.shape
    x = x.view(batch, side // size, size, side // size, size, wide)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, wide)


def _whole(x: torch.Tensor, size: int, side: int) -> torch.Tensor:
    """Undo `_windows`."""
    count, wide = side // size, x.shape[-1]
    x = x.view(-1, count, count, size, size, wide)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, wide)


class _Shifted(_Block):
    """A block with attention inside windows, after a shift where `shift` is not 0."""

    def __init__(self, wide: int, heads: int, size: int, shift: int):
        super().__init__(wide, heads)
        self.size, self.shift = size, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = x.shape[1]
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = _whole(self.attention(_windows(y, self.size)), self.size, side)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.net(self.norm2(x))


class _Swin(nn.Module):
    def __init__(self, wide: int, size: int):
        super().__init__()
        self.patch = nn.Conv2d(3, wide, 4, 4)
        self.first = nn.Sequential(_Shifted(wide, 4, size, 0), _Shifted(wide, 4, size, size // 2))
        self.merge = nn.Linear(4 * wide, 2 * wide, bias=False)
        self.second = nn.Sequential(
            _Shifted(2 * wide, 4, size, 0), _Shifted(2 * wide, 4, size, size // 2)
        )
        self.head = nn.Linear(2 * wide, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(self.patch(image).permute(0, 2, 3, 1))
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = self.second(self.merge(torch.cat(corners, -1)))
        return self.head(x.mean((1, 2)))


def swin(removed: int, large: bool) -> Case:
    """A transformer with shifted windows: rolls, window partitions, patch merging."""
    torch.manual_seed(1)
    wide, side, size = (48, 64, 8) if large else (16, 32, 4)
    return torch_case(_Swin(wide, size), [torch.randn(1, 3, side, side)], removed)


class _Unit(nn.Module):
    """Grouped pointwise convolutions round a channel shuffle, then a concatenation."""

    def __init__(self, channels: int):
        super().__init__()
        self.down = nn.Conv2d(channels, channels, 1)
        self.depth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.up = nn.Conv2d(channels // 2, channels // 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.depth(self.down(x))))
        batch, channels, high, wide = y.shape
        y = y.view(batch, 2, channels // 2, high, wide).transpose(1, 2).reshape(y.shape)
        left, right = y.chunk(2, 1)
        return torch.cat([left, torch.relu(self.up(right))], 1) + x


class _ConvNet(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 2, 1)
        self.units = nn.Sequential(_Unit(channels), _Unit(channels))
        self.head = nn.Linear(channels, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.units(torch.relu(self.stem(image)))
        return self.head(x.mean((2, 3)))


def conv_net(removed: int, large: bool) -> Case:
    """A convolution net in NCHW with channel shuffles and concatenations."""
    torch.manual_seed(2)
    channels, side = (32, 48) if large else (16, 12)
    return torch_case(_ConvNet(channels), [torch.randn(1, 3, side, side)], removed)
