"""What a checkpoint is, whatever its format; and one that lives in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.original import (
    PARAMS,
    convert_first,
    convert_gguf_first,
    is_codestral,
    is_gguf,
    is_state_spaces,
)
from tvm_c4n.checkpoint.reading import MAX_CONFIG_BYTES, check_head
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.families import family_of
from tvm_c4n.model.rows import rows_of
from tvm_c4n.sparsity import AnyWeight, C4nWeight, StackedWeight

CONFIG = "config.json"
# What a hub shows of a model.
CARD = "README.md"
# Files that belong to the model and are copied along. A closed list: a model folder from the net
# must not be able to choose what is copied into the user's output.
EXTRA_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json",
    "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE",
)  # fmt: skip

# What a folder without config.json may be instead: the files that show it, and the remedy.
_OTHER_KINDS = (
    (("manifest.json", "weights.bin"), "a compiled model; give the folder it was compiled from"),
    (("manifest.json", "best.json"), "tuning records; give a model folder, and these as --records"),
    (("run.json",), "what an unfinished prune keeps; give the model, and this folder as --resume"),
)


class Checkpoint(Protocol):
    """A model's tensors, read one at a time."""

    @property
    def path(self) -> Path:
        """The folder."""

    @property
    def config(self) -> dict[str, Any]:
        """The model's config.json."""

    def names(self) -> list[str]:
        """Names of the model's tensors, sorted."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the dense tensor, without reading it."""

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor as float32, dequantised and expanded if it is packed."""

    def weight(self, name: str) -> AnyWeight | None:
        """Read one packed weight; None where the tensor is stored dense."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors as they are stored, without headers and padding."""

    def extra_files(self) -> list[Path]:
        """Tokenizer and licence files that belong to the model."""


class ArrayCheckpoint:
    """A checkpoint in memory, for models that were never on disk.

    Parameters
    ----------
    config : mapping
        As config.json.
    tensors : mapping of name to array or C4nWeight
    extra : list of Path
        Files for `extra_files`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any] | AnyWeight],
        extra: list[Path] | None = None,
    ) -> None:
        self.path = Path("(memory)")
        self.config = dict(config)
        self._tensors = dict(tensors)
        self._extra = list(extra or [])

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._tensors)

    def _get(self, name: str) -> NDArray[Any] | AnyWeight:
        if name in self._tensors:
            return self._tensors[name]
        rows = rows_of(name)
        whole = self._tensors.get(rows.source) if rows else None
        if rows is None or not isinstance(whole, np.ndarray) or not rows.shape_in(whole.shape):
            raise CheckpointError(f"{self.path}: tensor {shown(name)} is missing")
        return rows.taken_from(whole)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the dense tensor."""
        tensor = self._get(name)
        if isinstance(tensor, C4nWeight | StackedWeight):
            return tensor.rows, tensor.cols
        return tuple(tensor.shape)

    def dense(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32."""
        tensor = self._get(name)
        if isinstance(tensor, C4nWeight | StackedWeight):
            return tensor.dense()
        return np.asarray(tensor, dtype=np.float32)

    def weight(self, name: str) -> AnyWeight | None:
        """Return the packed weight, or None where the tensor is dense."""
        tensor = self._get(name)
        return tensor if isinstance(tensor, C4nWeight | StackedWeight) else None

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        tensors = self._tensors.values()
        return sum(
            t.size_bytes if isinstance(t, C4nWeight | StackedWeight) else t.nbytes for t in tensors
        )

    def extra_files(self) -> list[Path]:
        """Files that were passed in."""
        return list(self._extra)


def check_folder(path: Path) -> None:
    """Raise CheckpointError unless ``path`` is a folder."""
    if path.is_dir():
        return
    if is_gguf(path):
        raise CheckpointError(convert_gguf_first(path))
    if path.exists():
        raise CheckpointError(f"{path}: not a folder; pass the folder that holds {CONFIG}")
    raise CheckpointError(
        f"{path}: no such folder; pass a folder with {CONFIG} and model.safetensors "
        "(download one with `hf download state-spaces/mamba-130m-hf --local-dir DIR`)"
    )


def _refuse_other_kinds(folder: Path) -> None:
    """Raise CheckpointError if a folder is something else that this package writes or converts."""
    if (folder / CONFIG).exists():
        return
    if is_codestral(folder):
        raise CheckpointError(convert_first(folder / PARAMS))
    for files, what in _OTHER_KINDS:
        if all((folder / name).is_file() for name in files):
            raise CheckpointError(f"{folder}: {what}")


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json and check that the architecture is supported.

    Raises
    ------
    CheckpointError
        Missing, not a small JSON object, in its authors' format, or of another architecture.
    """
    _refuse_other_kinds(folder)
    path = folder / CONFIG
    config = read_json(path, MAX_CONFIG_BYTES, "save or download the model again")
    if is_state_spaces(config):
        raise CheckpointError(convert_first(path))
    try:
        family_of(config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return config


def find_extra_files(folder: Path) -> list[Path]:
    """List the known tokenizer and licence files of a folder.

    Raises
    ------
    CheckpointError
        One of them is a link that leaves the folder. Copying it could put a private file into a
        folder that is published later. Links into the ``blobs`` of the Hugging Face cache are fine.
        Or one is a Git LFS pointer or a web page.
    """
    found = []
    for name in EXTRA_FILES:
        path = folder / name
        if not path.is_file():
            continue
        target, home = path.resolve(), folder.resolve()
        blobs = home.parent.parent / "blobs"  # models--x/snapshots/<commit> -> models--x/blobs
        in_cache = home.parent.name == "snapshots" and target.parent == blobs
        if target.parent != home and not in_cache:
            raise CheckpointError(f"{path}: a link that leaves the folder; put the file itself")
        if not name.startswith(("LICENSE", "NOTICE")):  # some of those are web pages
            check_head(path, "save or download the model again")
        found.append(path)
    return found
