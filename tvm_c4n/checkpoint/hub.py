"""Models of a Hugging Face hub, by name: into huggingface_hub's cache, and from there.

Only what a model is made of is downloaded: config, safetensors, and the files of `EXTRA_FILES`;
never a pickle, never code. The config comes first, so that no weight comes of a model that this
package cannot run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tvm_c4n.assets import resolve
from tvm_c4n.checkpoint.base import CARD, CONFIG, EXTRA_FILES, read_config
from tvm_c4n.checkpoint.files import os_errors
from tvm_c4n.checkpoint.hf import INDEX, SINGLE, read_index
from tvm_c4n.checkpoint.hub_answers import (
    ANSWER_SECS,
    NoAnswer,
    NoSuchFile,
    asked,
    unreachable,
)
from tvm_c4n.checkpoint.hub_files import download
from tvm_c4n.checkpoint.hub_names import HubModel, hub_model
from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.original import is_state_spaces
from tvm_c4n.checkpoint.reading import MAX_CONFIG_BYTES
from tvm_c4n.errors import CheckpointError
from tvm_c4n.extras import pip_command
from tvm_c4n.progress import Progress

# No model's tokenizer or card is larger.
_MAX_EXTRA_BYTES = 1 << 28


def locate(model: str | Path, progress: Progress | None = None) -> Path:
    """Turn a name or a path into a path; a model of the hub is downloaded, or found in its cache.

    Parameters
    ----------
    model : str or Path
        A path, the name of an embedded model, or ``org/name`` or ``org/name@revision`` of a hub;
        `tvm_c4n.checkpoint.hub_names.hub_model` says which.
    progress : callable, optional
        ``progress(what, done, total)`` counts the megabytes that come.

    Returns
    -------
    Path
        A path is not checked to exist.

    Raises
    ------
    CheckpointError
        The hub has no such model or is out of reach, or the model is not supported.
    """
    wanted = hub_model(model)
    return resolve(model) if wanted is None else fetch(wanted, progress)


def locate_config(model: str | Path) -> Path:
    """Turn a name or a path into a path; of a model of the hub only the config is downloaded.

    Raises
    ------
    CheckpointError
        As `locate`.
    """
    wanted = hub_model(model)
    return resolve(model) if wanted is None else _with_config(wanted)[0]


def fetch(wanted: HubModel, progress: Progress | None = None) -> Path:
    """Return the cache's folder of a hub's model, after downloading what is missing there.

    Raises
    ------
    CheckpointError
        As `locate`.
    """
    folder, about = _with_config(wanted)
    if about is None:
        _check_whole(wanted, folder)
        return folder
    if folder.name != about.commit:
        raise CheckpointError(f"{wanted}: has changed meanwhile; try again")
    with os_errors(folder, "write"):
        _Files(wanted, folder, about.sizes, progress).download()
    return folder


class _About(NamedTuple):
    """A commit, and the bytes of each of its files."""

    commit: str
    sizes: dict[str, int]


def _with_config(wanted: HubModel) -> tuple[Path, _About | None]:
    """Return the cache's folder with a supported config, and its commit if the hub answers."""
    if find_spec("huggingface_hub") is None:
        raise CheckpointError(
            f"{wanted}: no such folder; a model of that name at huggingface.co needs "
            f"huggingface_hub: {pip_command('hub')}"
        )
    from huggingface_hub.utils import logging

    # What it warns of and matters is in our lines.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    about = _about(wanted)
    folder = _config(wanted, reachable=about is not None)
    _check_config(wanted, folder)
    return folder, about


def _about(wanted: HubModel) -> _About | None:
    """Ask for the commit that a revision is now; None where the cache must do."""
    from huggingface_hub import HfApi

    def ask() -> _About:
        info = HfApi().model_info(
            wanted.repo, revision=wanted.revision, files_metadata=True, timeout=ANSWER_SECS
        )
        return _About(info.sha or "", {one.rfilename: one.size or 0 for one in info.siblings or ()})

    try:
        return asked(wanted, ask)
    except NoAnswer:
        return None


def _config(wanted: HubModel, *, reachable: bool) -> Path:
    """Download or find the config; returns the cache's folder of its commit."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import silent_tqdm  # type: ignore[attr-defined]

    def ask() -> str:
        return hf_hub_download(
            wanted.repo,
            CONFIG,
            revision=wanted.revision,
            local_files_only=not reachable,
            tqdm_class=silent_tqdm,
        )

    try:
        return Path(asked(wanted, ask)).parent
    except NoAnswer as error:
        raise unreachable(wanted) from error
    except NoSuchFile as error:
        raise CheckpointError(
            f"{wanted}: has no {CONFIG}, so it is no model as transformers writes them; a GGUF "
            "file, or a model in another format, download yourself, and give the file or folder"
        ) from error


def _check_config(wanted: HubModel, folder: Path) -> None:
    """Refuse what is not supported, before a weight is downloaded."""
    path = folder / CONFIG
    if is_state_spaces(read_json(path, MAX_CONFIG_BYTES, "try again")):
        raise CheckpointError(
            f"{wanted}: in the format of its authors; give the repository in transformers' format "
            f"({wanted.repo}-hf, if there is one), or run `hf download {wanted.repo} --local-dir "
            "DIR` and `tvm-c4n convert DIR -o OUT`"
        )
    try:
        read_config(folder)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(path), str(wanted))) from None


def _check_whole(wanted: HubModel, folder: Path) -> None:
    """Refuse a copy in the cache that lacks weights."""
    index = folder / INDEX
    shards = set(read_index(index).values()) if index.exists() else {SINGLE}
    if not all((folder / shard).exists() for shard in shards):
        raise unreachable(wanted)


class _Files:
    """The files of a model that the cache lacks, one after the other."""

    def __init__(
        self, wanted: HubModel, folder: Path, sizes: dict[str, int], progress: Progress | None
    ) -> None:
        self._wanted, self._folder, self._sizes = wanted, folder, sizes
        self._tell = progress or (lambda *_: None)
        self._came = self._total = 0

    def download(self) -> None:
        """Download them; CheckpointError if there are no safetensors, or a transfer ended."""
        extra = [file for file in (CARD, *EXTRA_FILES) if self._is_small(file)]
        missing = [file for file in (*extra, *self._weights()) if self._is_missing(file)]
        self._total = sum(self._sizes.get(file, 0) for file in missing)
        for file in missing:
            self._get(file)

    def _weights(self) -> list[str]:
        """Name the files of the weights."""
        if SINGLE in self._sizes:
            return [SINGLE]
        if INDEX not in self._sizes:
            raise CheckpointError(
                f"{self._wanted}: has neither {SINGLE} nor {INDEX}; pickles can run code, so they "
                "are not downloaded; look for a repository with safetensors"
            )
        if self._is_missing(INDEX):
            self._get(INDEX)
        return sorted(set(read_index(self._folder / INDEX).values()))

    def _is_small(self, file: str) -> bool:
        return 0 < self._sizes.get(file, 0) <= _MAX_EXTRA_BYTES

    def _is_missing(self, file: str) -> bool:
        return not (self._folder / file).exists()

    def _get(self, file: str) -> None:
        blobs = self._folder.parent.parent / "blobs"
        try:
            asked(
                self._wanted,
                lambda: download(self._wanted.repo, self._folder.name, file, blobs, self._count),
            )
        except NoAnswer as error:
            raise CheckpointError(
                f"{self._wanted}: {file} did not come whole; the same command goes on where it "
                "stopped"
            ) from error
        except NoSuchFile as error:
            raise CheckpointError(f"{self._wanted}: lacks {file}, which its index names") from error

    def _count(self, came: int) -> None:
        self._came += came
        done, total = min(self._came, self._total) // 10**6, max(1, self._total // 10**6)
        self._tell(f"MB of {self._wanted}", done, total)
