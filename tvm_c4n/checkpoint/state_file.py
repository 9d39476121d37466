"""What an unfinished run keeps: tensors and notes in one safetensors file, with a checksum.

Only the program that wrote such a file reads it. So its content is not examined: a file that is
not exactly what was written is refused, whatever is wrong with it. (The states of texts, which
others may send, are written here, too, and read by `tvm_c4n.runtime.saved_state`.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.files import atomic_output
from tvm_c4n.checkpoint.safetensors_file import (
    NUMPY_DTYPES,
    SafetensorsFile,
    little_endian,
    storage_order,
    write_safetensors,
)
from tvm_c4n.errors import CheckpointError

DIGEST = "sha256"
_DTYPES = {np.dtype(name): dtype for dtype, name in NUMPY_DTYPES.items()}

Arrays = Mapping[str, NDArray[Any]]


def write_state(path: Path, arrays: Arrays, notes: Mapping[str, str]) -> None:
    """Write a state, replacing the one before it at once or not at all.

    Parameters
    ----------
    path : Path
    arrays : mapping of name to array
        Of dtypes of `NUMPY_DTYPES`.
    notes : mapping of str to str

    Raises
    ------
    CheckpointError
        A disk error.
    """
    about = _about(arrays)
    with atomic_output(path) as temporary:
        write_safetensors(
            temporary,
            about,
            lambda name: [little_endian(arrays[name])],
            {**notes, DIGEST: digest_of(arrays, notes)},
        )


def read_state(path: Path, remedy: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read a state: its arrays and its notes.

    Raises
    ------
    CheckpointError
        It is missing, or not what `write_state` wrote; the message ends with ``remedy``.
    """
    file = SafetensorsFile(path, remedy)
    notes = dict(file.metadata)
    digest = notes.pop(DIGEST, "")
    known = all(entry.dtype in NUMPY_DTYPES for entry in file.entries.values())
    arrays = {name: file.read(name) for name in file.entries} if known else {}
    if not known or digest_of(arrays, notes) != digest:
        raise CheckpointError(f"{path}: damaged: not what was written there; {remedy}")
    return arrays, notes


def _about(arrays: Arrays) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (_DTYPES[array.dtype], array.shape) for name, array in arrays.items()}


def digest_of(arrays: Arrays, notes: Mapping[str, str]) -> str:
    """Return the sha256, in hexadecimal, of tensors with their names and notes."""
    about = _about(arrays)
    digest = sha256(json.dumps([about, dict(notes)], sort_keys=True).encode())
    for name in storage_order(about):
        digest.update(little_endian(arrays[name]))
    return digest.hexdigest()
