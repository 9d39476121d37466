"""One file of a hub into its cache, from where an interrupted download stopped.

huggingface_hub keeps whole files only: what it has of a file of some gigabytes is lost when it is
killed. So a file grows here as ``blobs/ETAG.part`` of the cache, by huggingface_hub's own transfer,
and when it is whole takes the name under which huggingface_hub finds it.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path
from types import TracebackType

from tvm_c4n.errors import CheckpointError

# It becomes a file's name.
_ETAG = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PIECE = 1 << 22


def download(repo: str, commit: str, file: str, blobs: Path, came: Callable[[int], None]) -> None:
    """Make sure that the cache has a file of a commit.

    Parameters
    ----------
    repo, commit, file : str
    blobs : Path
        The folder of the repository's blobs in the cache.
    came : callable
        Called with the number of bytes that came or were there; less than 0 where the hub begins a
        file anew.

    Raises
    ------
    CheckpointError
        The hub sent something else than it announced.
    Exception
        What huggingface_hub raises where there is no answer; OSError of the disk.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repo, file, revision=commit)
    about = get_hf_file_metadata(url)
    etag = about.etag or ""
    if not _ETAG.fullmatch(etag) or about.size is None:
        raise CheckpointError(f"{repo}: {url} says neither what {file} is nor how large")
    if (blobs / etag).exists():
        came(about.size)
    else:
        blobs.mkdir(parents=True, exist_ok=True)
        _complete(url, blobs / etag, about.size, came)
    hf_hub_download(repo, file, revision=commit)  # finds the blob and gives it its name


def _complete(url: str, blob: Path, size: int, came: Callable[[int], None]) -> None:
    """Download what is missing of a blob."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    part = blob.with_name(f"{blob.name}.part")
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # another process may write it; it is waited for
        if blob.exists():
            part.unlink(missing_ok=True)
            came(size)
            return
        stream.seek(0, 2)
        if stream.tell() > size:
            stream.truncate(0)
            stream.seek(0)
        came(stream.tell())
        http_get(
            url,
            stream,
            resume_size=stream.tell(),
            headers=build_hf_headers(),
            expected_size=size,
            tqdm_class=lambda **_: _Meter(came),  # type: ignore[arg-type]  # used like a class
        )
        stream.flush()
        if not _is(part, blob.name):
            part.unlink()
            raise CheckpointError(
                f"{url}: what came is not what the hub announced; it was removed: try again"
            )
        part.replace(blob)


def _is(file: Path, etag: str) -> bool:
    """Check a file against its etag, where that is a digest: Git LFS's, or git's own."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):
        return True
    digest = sha256() if len(etag) == 64 else sha1(usedforsecurity=False)
    if len(etag) == 40:
        digest.update(b"blob %d\0" % file.stat().st_size)
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest() == etag


class _Meter:
    """What huggingface_hub takes for a progress bar."""

    def __init__(self, came: Callable[[int], None]) -> None:
        self.update = came

    def __enter__(self) -> _Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: the bar is the caller's."""
