"""Compiled models by name or folder: made for this machine when first used, and kept.

``$XDG_CACHE_HOME/tvm-c4n/artifacts/KEY/NAME`` is the artifact of a model; without the variable the
root is ``~/.cache``. KEY digests all that the artifact depends on: the content of the model, this
machine, and the versions of TVM and of this package's sources. So nothing in the cache is ever out
of date, and any of it may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_c4n._tvm_runtime import tvm_version
from tvm_c4n._version import __version__
from tvm_c4n.assets import MODELS
from tvm_c4n.checkpoint import locate, open_checkpoint
from tvm_c4n.checkpoint.hub_names import name_of
from tvm_c4n.checkpoint.leftovers import recover
from tvm_c4n.checkpoint.reading import read_bytes
from tvm_c4n.compile.host import l3_bytes, measured_core
from tvm_c4n.errors import ArtifactError, C4nError
from tvm_c4n.model.tokenizer import MAX_TOKENIZER_BYTES, TEXT_FILES, load_tokenizer
from tvm_c4n.ops.host import host_cpu, host_machine
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.artifact import is_artifact, open_artifact, sha256_of
from tvm_c4n.runtime.describe import cpu_model, cpu_name

if TYPE_CHECKING:
    from tvm_c4n.runtime.engine import Engine

# All files of a model folder that an artifact is made from.
_MODEL_FILES = ("c4n.json", "*.safetensors", "*.safetensors.index.json", *TEXT_FILES)


def load(
    model: str | Path,
    *,
    threads: int | None = None,
    batch: bool = False,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
) -> Engine:
    """Load a model ready to run: an artifact, or any model folder, which is compiled first.

    Parameters
    ----------
    model : str or Path
        Artifact, Hugging Face folder, C4n folder, the name of an embedded model, or ``org/name`` of
        a hub.
    threads : int, optional
        At most; default: one for each core.
    batch : bool
        Whether `tvm_c4n.runtime.batch.Batch` can have it.
    progress, notify : callable, optional
        Called as those of `cached_artifact`.

    Raises
    ------
    C4nError
        The model is missing or damaged, or its artifact is not for this machine.
    """
    from tvm_c4n.runtime.engine import Engine

    artifact = cached_artifact(model, batch=batch, progress=progress, notify=notify)
    return Engine.load(artifact, threads=threads)


def cached_artifact(
    model: str | Path,
    *,
    batch: bool = False,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
) -> Path:
    """Return the artifact of a model for this machine; it is compiled if the cache has none.

    Processes that want the same artifact at once wait for the first one to compile it.

    Parameters
    ----------
    model : str or Path
        Hugging Face folder, C4n folder, the name of an embedded model, or ``org/name`` of a hub. An
        artifact is returned as it is.
    batch : bool
        Compile it for several sequences at once, too.
    progress : callable, optional
        Called as ``progress(what, done, total)`` while the model is downloaded and compiled.
    notify : callable, optional
        Called once with a sentence for the user, if the model is compiled.

    Raises
    ------
    C4nError
        The model is missing or damaged, or the cache cannot be written.
    """
    if not Path(model).exists():
        recover(Path(model))
    if is_artifact(Path(model)):
        return Path(model)
    folder = locate(model, progress)
    if not folder.exists():
        raise C4nError(f"{model}: no such folder; give one, or one of {', '.join(MODELS)}")
    checkpoint = open_checkpoint(folder)
    depends = _depends(folder)
    # One for several sequences has all that one sequence needs.
    for together in dict.fromkeys((True, batch)):
        home = artifacts_folder() / _key(depends, together)
        artifact = home / (name_of(folder) or "model")
        if _is_whole(artifact):
            with suppress(OSError):  # a cache that cannot be written to
                os.utime(home)  # when it was last used
            return artifact
    with _locked(home):
        if not _is_whole(artifact):  # else another process compiled it while this one waited
            load_tokenizer(folder, checkpoint.config)  # a missing one is said before anything else
            if notify is not None:
                notify(f"compiling {artifact.name} for this CPU, once; kept in {cache_folder()}")
            # Only here: the compiler takes a second to load.
            from tvm_c4n.compile.artifact import compile_model

            compile_model(folder, artifact, batch=batch, progress=progress, overwrite=True)
    return artifact


def cache_folder() -> Path:
    """Return the folder of everything that this package keeps for a user.

    A relative ``XDG_CACHE_HOME`` is ignored, as freedesktop.org's base directory specification
    demands.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "tvm-c4n"


def artifacts_folder() -> Path:
    """Return the folder of compiled models: an entry for each, by its key."""
    return cache_folder() / "artifacts"


def _depends(folder: Path) -> dict[str, Any]:
    """Return what an artifact depends on, digested.

    The weights are read for it, at some 1.5 GB/s: a changed file with its old size and time must
    not bring back the old text.
    """
    files = {file for pattern in _MODEL_FILES for file in folder.glob(pattern) if file.is_file()}
    return {
        "model": {file.name: _digest(file) for file in sorted(files)},
        # Name and model choose tuning records, core and L3 how weights are prefetched.
        "machine": [
            host_machine(),
            host_cpu(),
            cpu_name(),
            cpu_model(),
            str(measured_core()),
            l3_bytes(),
        ],
        "versions": [tvm_version(), __version__, _sources_digest()],
    }


def _key(depends: dict[str, Any], batch: bool) -> str:
    """Return the name of an artifact's entry."""
    text = json.dumps({**depends, "batch": batch}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _digest(file: Path) -> str:
    """Digest a file of a model; only weights may be large."""
    if file.suffix == ".safetensors":
        return sha256_of(file)
    data = read_bytes(file, MAX_TOKENIZER_BYTES, "copy the model's files there again")
    return hashlib.sha256(data).hexdigest()


def _sources_digest() -> str:
    """Digest this package's sources: a developer's change makes new artifacts."""
    digest = hashlib.sha256()
    for root in _source_folders():
        for file in sorted([*root.rglob("*.py"), *root.rglob("records/**/*.json")]):
            digest.update(f"{root.name}/{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _is_whole(artifact: Path) -> bool:
    """Return whether an artifact is there and nobody has damaged it since."""
    if not is_artifact(artifact):
        return False
    try:
        open_artifact(artifact).verify(code_only=True)
    except (ArtifactError, OSError):
        return False
    return True


def _source_folders() -> list[Path]:
    """Return the packages' folders; two are found, not imported: they load the compiler."""
    specs = [importlib.util.find_spec(name) for name in ("relay_passes", "schedules")]
    found = [Path(str(spec.origin)).parent for spec in specs if spec is not None]
    return [Path(__file__).parents[1], *found]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process at the latest."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise C4nError(
            f"{folder}: cannot create: {error.strerror}; set XDG_CACHE_HOME to a folder for "
            "compiled models, or use 'tvm-c4n compile'"
        ) from error
    try:
        with suppress(OSError):  # some network drives have no locks: both processes compile then
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
