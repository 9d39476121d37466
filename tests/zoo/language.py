"""Language models and their blocks, in torch and transformers."""

from __future__ import annotations

import torch
from torch import nn

from tests.zoo.case import Case, export, prune_torch, torch_case


class _Block(nn.Module):
    """A transformer block: attention and a feed-forward net, norms in front."""

    def __init__(self, wide: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(wide), nn.LayerNorm(wide)
        self.qkv, self.out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)
        self.net = nn.Sequential(nn.Linear(wide, 4 * wide), nn.GELU(), nn.Linear(4 * wide, wide))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, wide = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, wide // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) * (wide // self.heads) ** -0.5
        out = torch.softmax(scores, -1) @ v
        return self.out(out.transpose(1, 2).reshape(batch, tokens, wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.net(self.norm2(x))


def block(removed: int, large: bool) -> Case:
    """A transformer block."""
    torch.manual_seed(0)
    wide, heads, tokens = (128, 8, 48) if large else (32, 4, 7)
    return torch_case(_Block(wide, heads), [torch.randn(1, tokens, wide)], removed)


def dynamic_block(removed: int, large: bool) -> Case:
    """The same block for any number of tokens."""
    torch.manual_seed(1)
    wide, heads, tokens = (128, 8, 40) if large else (32, 4, 9)
    dynamic = ({1: torch.export.Dim("tokens", min=2, max=512)},)
    x = torch.randn(1, tokens, wide)
    return torch_case(_Block(wide, heads), [x], removed, dynamic_shapes=dynamic)


class _Tied(nn.Module):
    """Embeddings that are the output layer too."""

    def __init__(self, words: int, wide: int):
        super().__init__()
        self.embed = nn.Embedding(words, wide)
        self.body = nn.Linear(wide, wide)
        self.head = nn.Linear(wide, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(self.embed(ids))))


def tied(removed: int, large: bool) -> Case:
    """Tied embeddings: one weight is looked up and multiplied with."""
    torch.manual_seed(2)
    words, wide = (2048, 256) if large else (60, 24)
    return torch_case(_Tied(words, wide), [torch.randint(0, words, (1, 5))], removed)


def mamba(removed: int, large: bool) -> Case:
    """Transformers' MambaForCausalLM with random weights, fixed length; torch unrolls its scan."""
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(3)
    wide, layers, tokens = (96, 2, 12) if large else (32, 2, 6)
    config = MambaConfig(
        vocab_size=96,
        hidden_size=wide,
        num_hidden_layers=layers,
        state_size=8,
        time_step_rank=8,
        rescale_prenorm_residual=False,
        use_cache=False,
    )
    model = MambaForCausalLM(config)
    prune_torch(model, removed)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.model(ids).logits

    ids = torch.randint(0, 96, (1, tokens))
    return Case(export(Logits(), [ids]), [ids.numpy()])
