"""Modules as users bring them, from every frontend: what the tests compile and the benchmarks time.

``ZOO[name](removed, large)`` makes one: `removed` weights of every 4 are zero in its dense layers
(0: nothing is sparse), and `large` chooses sizes that are worth timing.
"""

from __future__ import annotations

from tests.zoo.case import Case, Maker
from tests.zoo.from_onnx import attention_onnx, gemm_onnx
from tests.zoo.from_relax_nn import half_nn, mlp_nn
from tests.zoo.language import block, dynamic_block, mamba, tied
from tests.zoo.naive_mamba import mamba_prefill, mamba_step
from tests.zoo.small import channels_first, mlp, odd, shared
from tests.zoo.vision import conv_net, swin, vit

ZOO: dict[str, Maker] = {
    "mlp": mlp,
    "shared": shared,
    "odd": odd,
    "channels_first": channels_first,
    "gemm_onnx": gemm_onnx,
    "attention_onnx": attention_onnx,
    "mlp_nn": mlp_nn,
    "half_nn": half_nn,
    "block": block,
    "dynamic_block": dynamic_block,
    "tied": tied,
    "vit": vit,
    "swin": swin,
    "conv_net": conv_net,
    "mamba": mamba,
    "mamba_step": mamba_step,
    "mamba_prefill": mamba_prefill,
}

__all__ = ["ZOO", "Case", "Maker"]
