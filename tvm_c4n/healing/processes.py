"""The processes that heal one model together: those that torchrun started, or this one alone.

Each has a share of every step's windows; torch.distributed averages what they learn. Weights and
the optimiser's state are whole in each process (`DistributedDataParallel`), or sharded between them
(`fully_shard`). What a run keeps is whole, so that another number of processes goes on with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tvm_c4n.healing.student import Output, Student
from tvm_c4n.torch_blocks.device import find_device

# The others wait while the first one measures and writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """What a process knows of those that share a run.

    Attributes
    ----------
    device : torch.device
        Its own.
    rank, size : int
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that measures, reports and writes."""
        return self.rank == 0

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over all processes, which call this together."""
        if self.size > 1:
            dist.all_reduce(value := value.clone())
        return float(value) / self.size

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set in any process; they call this together."""
        if self.size == 1:
            return flag
        return self.mean(torch.tensor(float(flag), device=self.device)) > 0


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, each with its own GPU of ``cuda``.

    Parameters
    ----------
    device : str
        See `find_device`.

    Raises
    ------
    RecipeError
        There is no such device, or there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched():
        yield Processes(find_device(device))
        return
    place = find_device(f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device)
    on_gpu = place.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=place if on_gpu else None
    )
    try:
        yield Processes(place, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


class Spread:
    """A student whose gradients are averaged over all processes.

    Parameters
    ----------
    student : Student
        Its parameters are replaced by shards of them where that is asked for.
    processes : Processes
    shard : bool
        Share parameters, gradients and the optimiser's state between the processes.
    """

    def __init__(self, student: Student, processes: Processes, *, shard: bool = False) -> None:
        self._sharded = shard
        self._module: Any = student
        if shard:
            from torch.distributed.fsdp import fully_shard

            for layer in student.layers:
                if processes.device.type == "cuda":
                    # Not the layer itself: its weights are gathered before this and let go behind.
                    layer.forward = torch.compile(layer.forward, dynamic=False)
                fully_shard(layer)
            fully_shard(student)
            return
        student.compile_layers()
        if processes.size > 1:
            parallel = nn.parallel.DistributedDataParallel
            # Masks are alike in all processes and need not be sent at every step. Newer torch has
            # another name for that.
            names = signature(parallel).parameters
            sync = (
                "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
            )
            on_gpu = processes.device.type == "cuda"
            devices = [processes.device] if on_gpu else None
            self._module = parallel(student, device_ids=devices, **{sync: False})

    def __call__(self, tokens: Tensor) -> Output:
        """Run whole windows, see `Student.forward`."""
        output: Output = self._module(tokens)
        return output

    def averaging(self, now: bool) -> AbstractContextManager[None]:
        """Average the gradients of the passes inside, or leave that to a later one."""
        if self._sharded:
            self._module.set_requires_gradient_sync(now)
        elif not now and isinstance(self._module, nn.parallel.DistributedDataParallel):
            found: AbstractContextManager[None] = self._module.no_sync()
            return found
        return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor of which each process may have a shard; they call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, values: Tensor) -> Tensor:
    """Return this process's shard of whole values, or these where ``tensor`` is whole."""
    if not isinstance(tensor, DTensor):
        return values
    there = values.to(tensor.device)
    return distribute_tensor(there, tensor.device_mesh, tensor.placements, src_data_rank=None)
