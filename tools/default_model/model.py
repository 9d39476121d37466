"""The default model for training; parameters are named as in transformers.MambaForCausalLM."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tvm_c4n.healing.scan import selective_scan

CONFIG = {
    "architectures": ["MambaForCausalLM"],
    "model_type": "mamba",
    "vocab_size": 8192,
    "hidden_size": 384,
    "state_size": 16,
    "num_hidden_layers": 16,
    "intermediate_size": 768,
    "expand": 2,
    "conv_kernel": 4,
    "time_step_rank": 24,
    "layer_norm_epsilon": 1e-5,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "residual_in_fp32": True,
    "rescale_prenorm_residual": False,
    "tie_word_embeddings": True,
    "initializer_range": 0.1,
    "time_step_min": 0.001,
    "time_step_max": 0.1,
    "time_step_floor": 1e-4,
    "time_step_scale": 1.0,
    "time_step_init_scheme": "random",
    "use_cache": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "torch_dtype": "float16",
}


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class Mixer(nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        self.rank, self.N = c["time_step_rank"], c["state_size"]
        self.in_proj = nn.Linear(hidden, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, c["conv_kernel"], groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * self.N, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, self.N + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, hidden, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = math.log(c["time_step_min"]), math.log(c["time_step_max"])
        dt = torch.exp(torch.rand(inner) * (high - low) + low).clamp(min=c["time_step_floor"])
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            self.out_proj.weight /= math.sqrt(c["num_hidden_layers"])

    def forward(self, u):
        T = u.shape[1]
        x, z = self.in_proj(u).chunk(2, -1)
        w, width = self.conv1d.weight[:, 0], self.conv1d.weight.shape[-1]
        xp = F.pad(x, (0, 0, width - 1, 0)).float()
        x = F.silu(sum(xp[:, k : k + T] * w[:, k] for k in range(width)) + self.conv1d.bias).to(
            u.dtype
        )
        low = self.x_proj(x)
        dt = F.linear(low[..., : self.rank], self.dt_proj.weight.to(u.dtype))
        y = selective_scan(
            x,
            dt,
            self.dt_proj.bias,
            -torch.exp(self.A_log).t().contiguous(),
            low[..., self.rank :].contiguous(),
        )
        y = (y.float() + x.float() * self.D) * F.silu(z.float())
        return self.out_proj(y.to(u.dtype))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.mixer = RMSNorm(c["hidden_size"], c["layer_norm_epsilon"]), Mixer(c)

    def forward(self, x):
        return x + self.mixer(self.norm(x).bfloat16()).float()


class Backbone(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm_f = RMSNorm(c["hidden_size"], c["layer_norm_epsilon"])
        nn.init.normal_(self.embeddings.weight, std=0.02)


class Mamba(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.backbone = Backbone(c)

    def head_loss(self, x, targets):
        logits = F.linear(
            self.backbone.norm_f(x).bfloat16(), self.backbone.embeddings.weight.bfloat16()
        )
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="mean")

    def forward(self, tokens, targets):
        x = self.backbone.embeddings(tokens)
        for layer in self.backbone.layers:
            x = layer(x)
        return self.head_loss(x, targets)
