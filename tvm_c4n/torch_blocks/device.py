"""The device that torch computes on: found by its name before work starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tvm_c4n.errors import C4nError, RecipeError


def find_device(name: str) -> torch.device:
    """Return a device that is there.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises
    ------
    RecipeError
        Another name, or no such GPU here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise RecipeError(f"device {name!r} is not cpu or cuda")
    if device.type == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RecipeError(
            f"device {name}: torch finds no GPU here; use --device cpu, or a torch with CUDA"
        )
    device = torch.device("cuda", device.index or 0)
    if device.index >= torch.cuda.device_count():
        raise RecipeError(f"device {name}: torch finds {torch.cuda.device_count()} GPU(s) here")
    torch.cuda.set_device(device)  # Triton launches on the current device
    return device


@contextmanager
def memory_errors(device: torch.device, remedy: str) -> Iterator[None]:
    """Say in one line that the memory of a GPU is too small, and what to do.

    Raises
    ------
    C4nError
        In place of torch's report of many lines.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise C4nError(f"device {device}: its free memory does not suffice; {remedy}") from None
