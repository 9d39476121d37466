"""Reading a C4n folder, strictly as ``docs/reference/format-c4n.md`` says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import check_folder, find_extra_files, read_config
from tvm_c4n.checkpoint.manifest import (
    DENSE_DTYPES,
    MANIFEST,
    TENSORS,
    Manifest,
    is_part,
    read_manifest,
    valid_name,
)
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import C4nError, CheckpointError, shown
from tvm_c4n.sparsity import AnyWeight

_AGAIN = "prune the model again"


class C4nCheckpoint:
    """A C4n folder; shapes and dtypes are checked on opening, contents when a tensor is read.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CheckpointError
        On everything that `docs/reference/format-c4n.md` says a folder must not be; file and
        tensor are named.
    """

    def __init__(self, path: Path) -> None:
        check_folder(path)
        self.path = path
        self.manifest: Manifest = read_manifest(path / MANIFEST)
        self.config = read_config(path)
        self._file = SafetensorsFile(path / TENSORS, _AGAIN)
        self._dense = self._match()

    def _match(self) -> list[str]:
        """Match c4n.json with the tensors in the file; returns the names stored dense."""
        where = self._file.path
        rest = dict(self._file.entries)
        for name, packed in self.manifest.tensors.items():
            for tensor, (dtype, shape) in packed.tensors(name).items():
                entry = rest.pop(tensor, None)
                if entry is None:
                    raise CheckpointError(f"{where}: tensor {shown(tensor)} is missing; {_AGAIN}")
                if (entry.dtype, entry.shape) != (dtype, shape):
                    raise CheckpointError(
                        f"{where}: tensor {shown(tensor)} is {entry.dtype}{list(entry.shape)}, "
                        f"{MANIFEST} says {dtype}{list(shape)}; {_AGAIN}"
                    )
        for name, entry in rest.items():
            if name in self.manifest.tensors or is_part(name) or not valid_name(name):
                raise CheckpointError(
                    f"{where}: tensor {shown(name)} is not in {MANIFEST}; {_AGAIN}"
                )
            if entry.dtype not in DENSE_DTYPES:
                raise CheckpointError(
                    f"{where}: dense tensor {shown(name)} is {entry.dtype}, allowed: "
                    f"{', '.join(DENSE_DTYPES)}; {_AGAIN}"
                )
        return list(rest)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors as they are stored."""
        return sum(entry.end - entry.begin for entry in self._file.entries.values())

    def names(self) -> list[str]:
        """Names of the model's tensors, sorted."""
        return sorted([*self._dense, *self.manifest.tensors])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the dense tensor, without reading it."""
        packed = self.manifest.tensors.get(name)
        if packed is not None:
            return packed.rows, packed.cols
        return self._file.entry(self._stored_dense(name)).shape

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor as float32, dequantised and expanded if it is packed."""
        weight = self.weight(name)
        return weight.dense() if weight is not None else self._file.read_float32(name)

    def weight(self, name: str) -> AnyWeight | None:
        """Read and check one packed weight; None where the tensor is stored dense."""
        packed = self.manifest.tensors.get(name)
        if packed is None:
            self._stored_dense(name)
            return None
        try:
            return packed.weight(name, self._file.read)
        except CheckpointError:
            raise
        except C4nError as error:
            cause = f"{self._file.path}: weight {shown(name)}: {error}; {_AGAIN}"
            raise CheckpointError(cause) from error

    def _stored_dense(self, name: str) -> str:
        if name in self.manifest.tensors or name not in self._dense:
            raise CheckpointError(f"{self._file.path}: tensor {shown(name)} is missing; {_AGAIN}")
        return name

    def extra_files(self) -> list[Path]:
        """Tokenizer and licence files of the folder."""
        return find_extra_files(self.path)
