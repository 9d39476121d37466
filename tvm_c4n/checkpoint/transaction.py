"""A folder that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tvm_c4n.checkpoint.files import is_full, os_errors
from tvm_c4n.checkpoint.leftovers import TemporaryFolder, exchange, remove_leftovers
from tvm_c4n.errors import CheckpointError


class FolderTransaction:
    """Context manager: a temporary folder beside ``out``, renamed on success, removed on error.

    It protects against errors, interrupts and kills; nothing is flushed for a loss of power. What
    killed writers of the same folder left is removed.

    Parameters
    ----------
    out : Path
        Where the folder shall be. Missing parents are made (and removed again on error).
    overwrite : bool or None
        Replace an existing folder. The old one stays until the new one is complete. None: never,
        and no error proposes it.
    ours : callable
        Says whether an existing folder may be replaced: ``overwrite`` must not delete a home
        folder because of a typing mistake.

    Raises
    ------
    CheckpointError
        ``out`` cannot be written or may not be replaced; the disk is full.
    """

    def __init__(self, out: Path, overwrite: bool | None, ours: Callable[[Path], bool]) -> None:
        with os_errors(out, "write"):
            self.out = out.resolve()  # through a link, so that the link survives the rename
        if not self.out.name:
            raise CheckpointError(f"{out}: cannot be replaced; name a folder to write")
        self._overwrite = overwrite
        self._ours = ours
        self._made: list[Path] = []
        self._temporary: TemporaryFolder | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder, between enter and exit."""
        assert self._temporary is not None, "outside of the with block"  # noqa: S101
        return self._temporary.path

    def __enter__(self) -> FolderTransaction:
        remove_leftovers(self.out)
        self._check_out()
        try:
            for parent in reversed([p for p in self.out.parents if not p.exists()]):
                with os_errors(parent, "create"):
                    parent.mkdir()
                self._made.append(parent)
            with os_errors(self.out, "create"):
                self._temporary = TemporaryFolder(self.out)
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
            if error is not None and is_full(error):
                with os_errors(self.out, "write"):
                    raise error
            if isinstance(error, CheckpointError) and str(self.folder) in str(error):
                # Nobody but us knows the temporary name.
                raise CheckpointError(
                    str(error).replace(str(self.folder), str(self.out))
                ) from error
            return
        try:
            self._check_out()  # again: another process may have written meanwhile
            self._publish()
        except BaseException:
            self._discard()
            raise

    def _check_out(self) -> None:
        with os_errors(self.out, "write"):
            if not self.out.exists():
                return
        if not self.out.is_dir():
            raise CheckpointError(f"{self.out}: is a file; name a folder to write")
        with os_errors(self.out, "list"):
            empty = next(self.out.iterdir(), None) is None
        if empty:
            return
        if not self._overwrite:
            replace = "" if self._overwrite is None else ", or replace it with --overwrite"
            raise CheckpointError(f"{self.out}: not empty; pick another folder{replace}")
        if not self._ours(self.out):
            raise CheckpointError(
                f"{self.out}: holds something else than what is written here, so it is not "
                "overwritten; empty it or pick another folder"
            )

    def _publish(self) -> None:
        assert self._temporary is not None  # noqa: S101  (__enter__ made it)
        with os_errors(self.out, "write"):
            if not self.out.exists():
                self.folder.rename(self.out)
            elif not exchange(self.folder, self.out):
                self.out.rename(self._temporary.aside)
                # A kill here leaves no folder of this name: `recover` brings the old one back.
                try:
                    self.folder.rename(self.out)
                except BaseException:
                    self._temporary.aside.rename(self.out)
                    raise
        self._temporary.release()

    def _discard(self) -> None:
        if self._temporary is not None:
            self._temporary.release()
        for parent in reversed(self._made):
            try:
                parent.rmdir()
            except OSError:  # somebody else uses it by now
                break
