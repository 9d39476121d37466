"""The state of an unfinished healing, in one file beside the folder it will become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tvm_c4n.checkpoint.files import make_folder
from tvm_c4n.checkpoint.state_file import read_state, write_state
from tvm_c4n.errors import CheckpointError
from tvm_c4n.healing.processes import sharded_like, whole

STEP, RUN = "step", "run"


def state_path(out: Path) -> Path:
    """Where the state of the healing that will write ``out`` lies."""
    return out.with_name(f"{out.name}.healing.safetensors")


def save_state(
    path: Path, tensors: Mapping[str, Tensor], step: int, run: str, *, writes: bool = True
) -> None:
    """Write a state, replacing the one before it at once or not at all.

    Parameters
    ----------
    path : Path
    tensors : mapping of name to Tensor
    step : int
        Steps that are done.
    run : str
        Says which run this is, see `load_state`.
    writes : bool
        Whether this process does; others give their shards only.
    """
    arrays = {name: whole(tensor).detach().cpu().numpy() for name, tensor in tensors.items()}
    if writes:
        make_folder(path.parent)
        write_state(path, arrays, {STEP: str(step), RUN: run})


def load_state(path: Path, tensors: Mapping[str, Tensor], run: str) -> int:
    """Read a state into ``tensors``; returns the steps that are done, 0 if there is no state.

    Raises
    ------
    CheckpointError
        The state is damaged, or that of a run with another model, text or settings.
    """
    if not os.path.lexists(path):
        return 0
    remedy = "remove it to start anew"
    arrays, notes = read_state(path, remedy)
    found = {name: array.shape for name, array in arrays.items()}
    if notes.get(RUN) != run or found != {name: t.shape for name, t in tensors.items()}:
        raise CheckpointError(
            f"{path}: belongs to a healing with another model, text or other settings; "
            f"repeat that command to go on with it, or {remedy}"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(sharded_like(tensor, torch.from_numpy(arrays[name])))
    return int(notes[STEP])
