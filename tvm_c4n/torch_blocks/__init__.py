"""Blocks in torch, for calibration and for training: one path for each kind, see `path`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tvm_c4n.model.description import Layer
from tvm_c4n.torch_blocks.mamba1 import mamba1
from tvm_c4n.torch_blocks.mamba2 import mamba2
from tvm_c4n.torch_blocks.path import BlockPath, Ops, Path, Scan, Ssd, Stop

BLOCKS: dict[str, BlockPath] = {"mamba1": mamba1, "mamba2": mamba2}


class _Prefixed(Mapping[str, Tensor]):
    """The tensors whose names start with a prefix, by the rest of their names."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self._tensors, self._prefix = tensors, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        prefix = self._prefix
        return (name.removeprefix(prefix) for name in self._tensors if name.startswith(prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


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
        normed = [ops.rms_norm(hidden, tensors[norm.weight], norm.eps)] * len(residual.blocks)
        for block in residual.blocks:
            own = _Prefixed(tensors, block.prefix)
            hidden = yield from BLOCKS[block.kind](block, own, ops, normed.pop(), hidden)
    return hidden


__all__ = ["BLOCKS", "Ops", "Path", "Scan", "Ssd", "Stop", "layer_path"]
