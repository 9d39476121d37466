"""Patterns of Relax by which others see what our pipeline would take: ``c4n.linear``.

They are for ``relax.transform.FuseOpsByPattern``, and there is no code generator behind them:
whoever splits a module between several back ends learns which dense layers to leave to ours.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

LINEAR, LINEAR_WITH_BIAS = "c4n.linear", "c4n.linear_bias"


def register_patterns() -> None:
    """Tell TVM of both patterns; the later one goes first where both match."""
    dpl: Any = import_module("tvm.relax.dpl")
    registry: Any = import_module("tvm.relax.backend.pattern_registry")
    x, weight, bias = dpl.wildcard(), dpl.is_const(), dpl.is_const()
    matmul, transpose = dpl.is_op("relax.matmul"), dpl.is_op("relax.permute_dims")
    product = matmul(x, weight) | matmul(x, transpose(weight))  # channels last
    product |= matmul(weight, x) | matmul(transpose(weight), x)  # channels first
    product |= dpl.is_op("relax.nn.conv1d")(x, weight) | dpl.is_op("relax.nn.conv2d")(x, weight)
    add = dpl.is_op("relax.add")
    registry.register_patterns(
        [
            (LINEAR, product, {"x": x, "weight": weight}, _is_ours),
            (
                LINEAR_WITH_BIAS,
                add(product, bias) | add(bias, product),
                {"x": x, "weight": weight, "bias": bias},
                _is_ours,
            ),
        ]
    )


def _is_ours(context: Any) -> bool:
    """Do what `relay_passes.matched_linear.is_sparse` does."""
    return bool(import_module("relay_passes.matched_linear").is_sparse(context))
