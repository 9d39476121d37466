"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tvm_c4n.checkpoint.files import os_errors
from tvm_c4n.errors import CheckpointError


class FolderTransaction:
    """Context manager: a temporary folder beside ``out``, renamed on success, removed on error.

    It protects against errors and interrupts; nothing is flushed for a loss of power.

    Parameters
    ----------
    out : Path
        Where the folder shall be. Missing parents are made (and removed again on error).
    overwrite : bool
        Replace an existing folder. The old one stays until the new one is complete.
    ours : callable
        Says whether an existing folder may be replaced: ``overwrite`` must not delete a home
        folder because of a typing mistake.

    Attributes
    ----------
    folder : Path
        The temporary folder, between enter and exit.
    """

    def __init__(self, out: Path, overwrite: bool, ours: Callable[[Path], bool]) -> None:
        self.out = out.resolve()  # through a link, so that the link survives the rename
        self._overwrite = overwrite
        self._ours = ours
        self._made: list[Path] = []
        mark = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = self.out.with_name(f".{self.out.name}.{mark}.tmp")
        self._old = self.out.with_name(f".{self.out.name}.{mark}.old")

    def __enter__(self) -> FolderTransaction:
        self._check_out()
        try:
            for parent in reversed([p for p in self.out.parents if not p.exists()]):
                with os_errors(parent, "create"):
                    parent.mkdir()
                self._made.append(parent)
            with os_errors(self.folder, "create"):
                self.folder.mkdir()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._check_out()  # again: another process may have written meanwhile
            self._publish()
        except BaseException:
            self._discard()
            raise

    def _check_out(self) -> None:
        if not self.out.exists():
            return
        if not self.out.is_dir():
            raise CheckpointError(f"{self.out}: is a file; name a folder to write")
        with os_errors(self.out, "list"):
            empty = next(self.out.iterdir(), None) is None
        if empty:
            return
        if not self._overwrite:
            raise CheckpointError(f"{self.out}: not empty; pick another folder, or overwrite it")
        if not self._ours(self.out):
            raise CheckpointError(
                f"{self.out}: does not look like a model folder, so it is not overwritten; "
                "empty it or pick another folder"
            )

    def _publish(self) -> None:
        with os_errors(self.out, "write"):
            if self.out.exists():
                self.out.rename(self._old)
            try:
                self.folder.rename(self.out)
            except BaseException:
                if self._old.exists():
                    self._old.rename(self.out)
                raise
        shutil.rmtree(self._old, ignore_errors=True)

    def _discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for parent in reversed(self._made):
            try:
                parent.rmdir()
            except OSError:  # somebody else uses it by now
                break
