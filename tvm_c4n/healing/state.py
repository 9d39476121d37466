"""The state of an unfinished healing, in one safetensors file beside the folder it will become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tvm_c4n.checkpoint.files import atomic_output, os_errors
from tvm_c4n.errors import CheckpointError

STEP, RUN = "step", "run"


def state_path(out: Path) -> Path:
    """Where the state of the healing that will write ``out`` lies."""
    return out.with_name(f"{out.name}.healing.safetensors")


def save_state(path: Path, tensors: Mapping[str, Tensor], step: int, run: str) -> None:
    """Write a state, replacing the one before it at once or not at all.

    Parameters
    ----------
    path : Path
    tensors : mapping of name to Tensor
    step : int
        Steps that are done.
    run : str
        Says which run this is, see `load_state`.
    """
    with os_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with atomic_output(path) as temporary:
        save_file(plain, temporary, metadata={STEP: str(step), RUN: run})


def load_state(path: Path, tensors: Mapping[str, Tensor], run: str) -> int:
    """Read a state into ``tensors``; returns the steps that are done, 0 if there is no state.

    Raises
    ------
    CheckpointError
        The state is damaged, or that of a run with another model, text or settings.
    """
    if not path.exists():
        return 0
    remedy = "remove it to start anew"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(RUN) != run:
                raise CheckpointError(
                    f"{path}: belongs to a healing with another model, text or other settings; "
                    f"repeat that command to go on with it, or {remedy}"
                )
            with torch.no_grad():
                for name, tensor in tensors.items():
                    tensor.copy_(file.get_tensor(name))
            return int(metadata[STEP])
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); {remedy}") from None
