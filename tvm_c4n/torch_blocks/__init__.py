"""Blocks in torch, for calibration and for training: one path for each kind, see `path`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from tvm_c4n.model.description import Block, Layer
from tvm_c4n.torch_blocks.attention import attention
from tvm_c4n.torch_blocks.delta_net import delta_net
from tvm_c4n.torch_blocks.experts import experts
from tvm_c4n.torch_blocks.mamba1 import mamba1
from tvm_c4n.torch_blocks.mamba2 import mamba2
from tvm_c4n.torch_blocks.mlp import mlp
from tvm_c4n.torch_blocks.path import BlockPath, Delta, Ops, Path, Scan, Ssd, Stop
from tvm_c4n.torch_blocks.routing import Routing
from tvm_c4n.torch_blocks.short_conv import short_conv

BLOCKS: dict[str, BlockPath] = {
    "attention": attention,
    "delta_net": delta_net,
    "experts": experts,
    "mamba1": mamba1,
    "mamba2": mamba2,
    "mlp": mlp,
    "short_conv": short_conv,
}


def _own(block: Block, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a block, by their names without the prefix."""
    start = len(block.prefix)
    return {name[start:]: t for name, t in tensors.items() if name.startswith(block.prefix)}


def layer_path(layer: Layer, tensors: Mapping[str, Tensor], ops: Ops, hidden: Tensor) -> Path:
    """Go through a layer.

    Parameters
    ----------
    layer : Layer
    tensors : mapping of str to Tensor
        By their names in the checkpoint; projections are not among them, their biases may be.
    ops : Ops
    hidden : (b, t, h)
        The residual stream.
    """
    for residual in layer.residuals:
        norm = residual.norm
        # Blocks side by side read the stream as it was; each copy is let go of when it was read.
        weight = norm.factors(tensors[norm.weight])
        normed = [ops.rms_norm(hidden, weight, norm.eps)] * len(residual.blocks)
        for block in residual.blocks:
            own = _own(block, tensors)
            hidden = yield from BLOCKS[block.kind](block, own, ops, normed.pop(), hidden)
    return hidden


def run_layer(
    layer: Layer,
    tensors: Mapping[str, Tensor],
    ops: Ops,
    hidden: Tensor,
    apply: Callable[[Stop], Tensor],
) -> Tensor:
    """Go through a layer as `layer_path` does, without halts; returns the residual stream.

    Each block is driven by itself: torch.compile follows generators, but not ``yield from``.

    Parameters
    ----------
    layer, tensors, ops, hidden
        See `layer_path`.
    apply : callable
        Gives what a path is sent at a stop.
    """
    for residual in layer.residuals:
        norm = residual.norm
        normed = ops.rms_norm(hidden, norm.factors(tensors[norm.weight]), norm.eps)
        for block in residual.blocks:
            own = _own(block, tensors)
            path = BLOCKS[block.kind](block, own, ops, normed, hidden)
            stop = next(path)
            while True:
                sent = apply(stop)
                try:
                    stop = path.send(sent)
                except StopIteration:
                    # What the last projection gave is what the path returns: torch.compile does
                    # not follow a value that an exception carries.
                    hidden = sent
                    break
    return hidden


__all__ = [
    "BLOCKS",
    "Delta",
    "Ops",
    "Path",
    "Routing",
    "Scan",
    "Ssd",
    "Stop",
    "layer_path",
    "run_layer",
]
