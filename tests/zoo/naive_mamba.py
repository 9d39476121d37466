"""Our Mamba as one writes it down first: chunks, transposes, and a state that is shifted by a copy.

``mamba_step`` is a decode step with its states as arguments and results, all in plain torch.
``mamba_prefill`` reads a prompt; its scan is the operator of `tvm_c4n.frontend.mamba`, because
torch would unroll a loop over tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.case import Case, torch_case
from tvm_c4n.frontend.mamba import convert_scan, scan

STATE, RANK, TAPS, LAYERS = 8, 8, 4, 2


class _Layer(nn.Module):
    def __init__(self, wide: int):
        super().__init__()
        inner = 2 * wide
        self.norm = nn.RMSNorm(wide, eps=1e-5)
        self.in_proj = nn.Linear(wide, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, TAPS, groups=inner, padding=TAPS - 1)
        self.x_proj = nn.Linear(inner, RANK + 2 * STATE, bias=False)
        self.dt_proj = nn.Linear(RANK, inner)
        self.a = nn.Parameter(-torch.rand(inner, STATE) - 0.5)
        self.skip = nn.Parameter(torch.randn(inner))
        self.out_proj = nn.Linear(inner, wide, bias=False)

    def step(self, x: Tensor, taps: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One token: x (1, wide), taps (1, inner, TAPS), state (1, inner, STATE)."""
        u, z = self.in_proj(self.norm(x)).chunk(2, -1)
        taps = torch.cat([taps[:, :, 1:], u[:, :, None]], 2)
        u = F.silu((taps * self.conv.weight[:, 0]).sum(-1) + self.conv.bias)
        dt, b, c = self.x_proj(u).split([RANK, STATE, STATE], -1)
        delta = F.softplus(self.dt_proj(dt))[:, :, None]
        state = torch.exp(delta * self.a) * state + delta * b[:, None] * u[:, :, None]
        y = (state @ c[:, :, None]).squeeze(2) + self.skip * u
        return x + self.out_proj(y * F.silu(z)), taps, state

    def prefill(self, x: Tensor) -> Tensor:
        """A prompt: x (1, tokens, wide)."""
        tokens = x.shape[1]
        u, z = self.in_proj(self.norm(x)).transpose(1, 2).chunk(2, 1)
        u = F.silu(self.conv(u)[:, :, :tokens])
        dt, b, c = self.x_proj(u.transpose(1, 2)).split([RANK, STATE, STATE], -1)
        delta = (dt @ self.dt_proj.weight.T).transpose(1, 2)
        b, c = b.transpose(1, 2), c.transpose(1, 2)
        y = scan(u, delta, self.a, b, c, self.skip, z, self.dt_proj.bias)
        return x + self.out_proj(y.transpose(1, 2))


class _Step(nn.Module):
    def __init__(self, wide: int):
        super().__init__()
        self.layers = nn.ModuleList(_Layer(wide) for _ in range(LAYERS))

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        new = []
        for number, layer in enumerate(self.layers):
            x, *both = layer.step(x, *states[2 * number : 2 * number + 2])
            new += both
        return x, *new


class _Prefill(nn.Module):
    def __init__(self, wide: int):
        super().__init__()
        self.layers = nn.ModuleList(_Layer(wide) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.prefill(x)
        return x


def mamba_step(removed: int, large: bool) -> Case:
    """A decode step."""
    torch.manual_seed(4)
    wide = 192 if large else 32
    states = [torch.randn(1, 2 * wide, size) for _ in range(LAYERS) for size in (TAPS, STATE)]
    return torch_case(_Step(wide), [torch.randn(1, wide), *states], removed)


def mamba_prefill(removed: int, large: bool) -> Case:
    """A prompt."""
    torch.manual_seed(4)
    wide, tokens = (192, 64) if large else (32, 7)
    x = torch.randn(1, tokens, wide)
    operators = {"selective_scan.default": convert_scan}
    return torch_case(_Prefill(wide), [x], removed, operators=operators)
