"""Model folders: Hugging Face in, C4n in and out, dense exports out. No tvm, no torch."""

from __future__ import annotations

import os
from pathlib import Path

from tvm_c4n.checkpoint.base import ArrayCheckpoint, Checkpoint
from tvm_c4n.checkpoint.c4n import C4nCheckpoint
from tvm_c4n.checkpoint.c4n_writer import C4nWriter
from tvm_c4n.checkpoint.dense_export import export_dense
from tvm_c4n.checkpoint.files import os_errors
from tvm_c4n.checkpoint.hf import HfCheckpoint
from tvm_c4n.checkpoint.hub import locate
from tvm_c4n.checkpoint.leftovers import recover
from tvm_c4n.checkpoint.manifest import MANIFEST
from tvm_c4n.progress import Progress

__all__ = [
    "ArrayCheckpoint",
    "C4nCheckpoint",
    "C4nWriter",
    "Checkpoint",
    "HfCheckpoint",
    "export_dense",
    "locate",
    "open_checkpoint",
]


def open_checkpoint(path: str | Path, progress: Progress | None = None) -> Checkpoint:
    """Open a model folder of either format.

    Parameters
    ----------
    path : str or Path
        A Hugging Face folder, a C4n folder (it has c4n.json), the name of an embedded model, or
        ``org/name`` of a hub, which is downloaded.
    progress : callable, optional
        ``progress(what, done, total)`` during a download.

    Returns
    -------
    Checkpoint
        Headers are validated; tensors are read on demand.

    Raises
    ------
    CheckpointError
        On everything that is missing, damaged, hostile or unsupported.
    """
    with os_errors(Path(path), "open"):
        folder = locate(path, progress)
        if not folder.exists():
            recover(folder)
        is_c4n = os.path.lexists(folder / MANIFEST)
        return C4nCheckpoint(folder) if is_c4n else HfCheckpoint(folder)
