"""Writing a C4n folder, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import CARD, CONFIG, Checkpoint
from tvm_c4n.checkpoint.c4n import C4nCheckpoint
from tvm_c4n.checkpoint.files import copy_file, os_errors, write_atomically, write_json
from tvm_c4n.checkpoint.manifest import (
    MANIFEST,
    TENSORS,
    WeightEntry,
    is_part,
    valid_name,
)
from tvm_c4n.checkpoint.safetensors_file import little_endian, write_safetensors
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.sparsity import AnyWeight

_SPOOL = ".tensors.tmp"
_PIECE_BYTES = 1 << 24
_METADATA = {"format": "c4n"}


class C4nWriter:
    """Write a C4n folder tensor by tensor; use as a context manager.

    Tensors go to a spool file as they come, so that none is held in memory. The folder appears at
    ``out`` when the block ends; on an error or an interrupt nothing is left. The same tensors and
    JSON give the same bytes, in whatever order they are added.

    Parameters
    ----------
    out : path
    overwrite : bool
        Replace an existing C4n folder.
    producer : mapping, optional
        ``{"name": ..., "version": ...}`` of the program, for c4n.json.

    Raises
    ------
    CheckpointError
        ``out`` is not empty, a tensor twice or with a bad name, disk full, config.json not given.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        overwrite: bool = False,
        producer: Mapping[str, str] | None = None,
    ) -> None:
        self._transaction = FolderTransaction(
            Path(out), overwrite, lambda folder: (folder / MANIFEST).is_file()
        )
        self._producer = dict(producer) if producer else None
        self._packed: dict[str, WeightEntry] = {}
        self._tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._dense_names: set[str] = set()
        self._spool: BinaryIO | None = None
        self._sealed: C4nCheckpoint | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder that becomes ``out``; more files may be put here."""
        return self._transaction.folder

    def __enter__(self) -> C4nWriter:
        self._transaction.__enter__()
        try:
            with os_errors(self._transaction.out, "write"):
                self._spool = (self.folder / _SPOOL).open("w+b")
        except BaseException as error:
            self._transaction.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.seal()
            except BaseException as failure:
                self._close_spool()
                self._transaction.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._close_spool()
        self._transaction.__exit__(kind, error, trace)

    def add_dense(self, name: str, array: NDArray[Any]) -> None:
        """Store a tensor dense, as float16 if it is float16 and as float32 otherwise."""
        self._check_name(name)
        array = np.asarray(array)
        if array.dtype != np.float16:
            array = array.astype(np.float32)
        self._dense_names.add(name)
        self._append(name, "F16" if array.dtype == np.float16 else "F32", array)

    def add_weight(self, name: str, weight: AnyWeight) -> None:
        """Store a packed weight; C4nError if its content is not valid."""
        self._check_name(name)
        weight.check()
        self._packed[name] = entry = WeightEntry.of(weight)
        arrays = entry.arrays(name, weight)
        for tensor, (dtype, _) in entry.tensors(name).items():
            self._append(tensor, dtype, arrays[tensor])

    def add_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object beside the weights, such as config.json or report.json."""
        if Path(name).name != name or not name.endswith(".json") or name == MANIFEST:
            raise CheckpointError(f"{name}: not a plain .json name that a C4n folder may have")
        write_json(self.folder / name, dict(value))

    def add_card(self, text: str) -> None:
        """Write README.md, the model's card, beside the weights."""
        write_atomically(self.folder / CARD, text)

    def copy_extra(self, checkpoint: Checkpoint) -> None:
        """Copy tokenizer and licence files, and config.json unless `add_json` gave one already."""
        for path in checkpoint.extra_files():
            copy_file(path, self.folder / path.name)
        if not (self.folder / CONFIG).exists():
            self.add_json(CONFIG, checkpoint.config)

    def seal(self) -> C4nCheckpoint:
        """End the adding of tensors and open the (still temporary) folder for reading.

        Called by the end of the block. Call it earlier to derive files from the finished
        checkpoint in the same transaction:
        ``export_dense(writer.seal(), writer.folder / "dense")``.
        """
        if self._sealed is not None:
            return self._sealed
        if self._spool is None:
            raise CheckpointError(f"{self._transaction.out}: use C4nWriter in a with block")
        if not (self.folder / CONFIG).exists():
            raise CheckpointError(f"{self._transaction.out}: {CONFIG} was not written; add it")
        write_safetensors(self.folder / TENSORS, self._tensors, self._pieces, _METADATA)
        self._close_spool()
        manifest: dict[str, Any] = {
            "format": "c4n",
            # The oldest that has all of it: older programs read what they know.
            "version": max((e.least_version for e in self._packed.values()), default=1),
            "tensors": {name: entry.model_dump() for name, entry in self._packed.items()},
        }
        if self._producer is not None:
            manifest["producer"] = self._producer
        write_json(self.folder / MANIFEST, manifest)
        self._sealed = C4nCheckpoint(self.folder)
        return self._sealed

    def _check_name(self, name: str) -> None:
        where = self._transaction.out
        if self._spool is None:
            raise CheckpointError(f"{where}: tensor {shown(name)} comes after the end of writing")
        if not valid_name(name) or is_part(name):
            raise CheckpointError(f"{where}: a tensor may not be called {shown(name)}")
        if name in self._packed or name in self._dense_names:
            raise CheckpointError(f"{where}: tensor {shown(name)} was added twice")

    def _append(self, tensor: str, dtype: str, array: NDArray[Any]) -> None:
        assert self._spool is not None  # noqa: S101  (_check_name came first)
        data = little_endian(array)
        # Each byte lies in the spool and then in the file: the file's header has all sizes.
        needed = 2 * (sum(size for _, size in self._spans.values()) + len(data))
        with os_errors(self._transaction.out, "write", needed):
            start = self._spool.tell()
            self._spool.write(data)
        self._tensors[tensor] = (dtype, tuple(array.shape))
        self._spans[tensor] = (start, len(data))

    def _pieces(self, tensor: str) -> Iterator[bytes]:
        assert self._spool is not None  # noqa: S101  (seal checks)
        start, left = self._spans[tensor]
        self._spool.seek(start)
        while left:
            piece = self._spool.read(min(left, _PIECE_BYTES))
            if not piece:
                return  # the writer notices that bytes are missing
            left -= len(piece)
            yield piece

    def _close_spool(self) -> None:
        if self._spool is not None:
            # What a full disk did not take has been reported, and is not needed any more.
            with suppress(OSError):
                self._spool.close()
            self._spool = None
            (self.folder / _SPOOL).unlink(missing_ok=True)
