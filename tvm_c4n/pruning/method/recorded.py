"""Many short steps on a GPU, recorded once and replayed as one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tvm_c4n.pruning.devices import on_cpu


class Recorded:
    """A function that changes tensors in place, called again and again with tensors of few shapes.

    A GPU starts short steps faster than Python names them. So the steps are recorded as a CUDA
    graph, for tensors of its own that the given ones are copied to and from. On the CPU the
    function is called.

    Parameters
    ----------
    function : callable
        ``function(*tensors)``; which steps it takes depends on nothing but the shapes.
    changed : int
        How many of the tensors, the first ones, it changes.
    """

    def __init__(self, function: Callable[..., None], changed: int) -> None:
        self._function, self._changed = function, changed
        self._known: dict[tuple[object, ...], tuple[torch.cuda.CUDAGraph, list[Tensor]]] = {}

    def __call__(self, *tensors: Tensor) -> None:
        """Change the tensors."""
        if on_cpu(tensors[0]):
            self._function(*tensors)
            return
        key = tensors[0].device, *(tensor.shape for tensor in tensors)
        if key not in self._known:
            self._known[key] = self._record(tensors)
        graph, own = self._known[key]
        torch._foreach_copy_(own, list(tensors))
        graph.replay()
        torch._foreach_copy_(list(tensors[: self._changed]), own[: self._changed])

    def _record(self, tensors: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, list[Tensor]]:
        own = [tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # the first call makes what cannot be made while recording
            self._function(*own)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._function(*own)
        return graph, own
