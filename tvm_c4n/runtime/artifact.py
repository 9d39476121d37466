"""The artifact folder: code, packed weights and a manifest that says what they are.

``model-<digest>.so`` holds the virtual machine's code and the kernels (a name for each content,
because a process that has a library open gets it again under the same name, whatever the file has
become), ``weights.bin`` the packed weights
at offsets that are multiples of 64, in the order of the functions' trailing parameters,
``manifest.json`` the rest. ``tokenizer.json`` is copied from the checkpoint; which tokens start and
end a text, that its other files say, is in the manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tvm_c4n.errors import ArtifactError
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer, read_tokenizer
from tvm_c4n.runtime.huge_pages import map_file

MANIFEST, WEIGHTS = "manifest.json", "weights.bin"
ALIGN = 64
FORMAT = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Record):
    """Where a packed tensor lies in weights.bin."""

    dtype: Literal["float32", "float16", "int8", "uint8", "uint16", "uint32"]
    shape: tuple[int, ...]
    offset: int = Field(ge=0, multiple_of=ALIGN)

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's elements."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


class Projection(_Record):
    """Pattern and format of one weight of the model."""

    rows: int
    cols: int
    removed: int = Field(ge=0, le=3)
    dtype: str
    scale_group: int


class Text(_Record):
    """Tokens around a text; see `tvm_c4n.model.tokenizer.TextTokenizer`."""

    start: int = Field(ge=0)
    ends: tuple[int, ...] = Field(min_length=1)


class Manifest(_Record):
    """The content of manifest.json.

    Attributes
    ----------
    target : str
        The name that the user gave, for example ``"host"``.
    triple, isa : str
        What the library was compiled for.
    features : list of str
        CPU features that the kernels use, under LLVM's names.
    config : dict
        The model's config.json.
    projections : dict
        By tensor name: the packed weights of the model.
    schedules : dict
        By operator: the rule that wrote the kernel, with the decisions of tuning in brackets, or
        ``"definition"`` where none did. ``layers.03_linear`` is the fourth operator of the
        layers (those of each pattern in turn), ``region.01_linear`` the second one of the head.
    tensors : list of Tensor
        In the order of the functions' parameters.
    states : list of tuple of int
        Shapes of the states, float32: they stand between tokens and weights, and start as zeros.
    text : Text or None
        What starts and ends a text; None in artifacts of before this was kept.
    chunk : int
        Tokens that one call of `prefill` or `score` takes at most.
    library_sha256, weights_sha256 : str
    """

    format: Literal[1] = 1
    target: str
    triple: str
    isa: str
    features: list[str]
    tvm: str
    config: dict[str, Any]
    projections: dict[str, Projection]
    schedules: dict[str, str]
    tensors: list[Tensor]
    states: list[tuple[int, ...]]
    text: Text | None = None
    chunk: int = Field(ge=1)
    weight_bytes: int
    library_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def library(self) -> str:
        """File name of the library."""
        return library_name(self.library_sha256)


@dataclass(frozen=True)
class Artifact:
    """An artifact folder whose manifest has been read."""

    path: Path
    manifest: Manifest

    def weights(self) -> list[NDArray[Any]]:
        """Bring the packed weights into memory as one block; writes do not reach the file.

        Raises
        ------
        ArtifactError
            The file is missing or shorter than the manifest says.
        """
        file = self.path / WEIGHTS
        try:
            block = map_file(file)
        except (OSError, ValueError):
            raise ArtifactError(f"{file} is missing or empty: compile the model again") from None
        arrays = []
        for tensor in self.manifest.tensors:
            end = tensor.offset + tensor.size_bytes
            if end > block.size:
                raise ArtifactError(f"{file} ends before its tensors do: compile the model again")
            flat = block[tensor.offset : end].view(tensor.dtype)
            arrays.append(flat.reshape(tensor.shape))
        return arrays

    def tokenizer(self) -> TextTokenizer:
        """Read the tokenizer that the model was compiled with.

        Raises
        ------
        CheckpointError
            It is missing or damaged.
        """
        text = self.manifest.text
        if text is None:
            return load_tokenizer(self.path, self.manifest.config)
        return TextTokenizer(read_tokenizer(self.path), text.start, text.ends)

    def verify(self, *, code_only: bool = False) -> None:
        """Compare the files with the manifest's sha256.

        Parameters
        ----------
        code_only : bool
            Leave out the weights: hashing gigabytes would make a start half as long again. What is
            wrong in them makes bad text; what is wrong in the code is run.

        Raises
        ------
        ArtifactError
            Names the file that was changed or is missing.
        """
        expected = {self.manifest.library: self.manifest.library_sha256}
        if not code_only:
            expected[WEIGHTS] = self.manifest.weights_sha256
        for name, digest in expected.items():
            file = self.path / name
            if not file.is_file() or sha256_of(file) != digest:
                raise ArtifactError(f"{file} is not the file that was compiled: compile again")


def library_name(digest: str) -> str:
    """Return the file name of the library with a sha256."""
    return f"model-{digest[:12]}.so"


def sha256_of(file: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_artifact(path: Path) -> bool:
    """Return whether a folder looks like an artifact."""
    return (path / MANIFEST).is_file() and not (path / "config.json").is_file()


def open_artifact(path: str | Path) -> Artifact:
    """Read and check the manifest of an artifact folder.

    Raises
    ------
    ArtifactError
        The folder is none, or its manifest is damaged or of a later format.
    """
    folder = Path(path)
    file = folder / MANIFEST
    if not file.is_file():
        raise ArtifactError(f"{folder} is no compiled model: make one with 'tvm-c4n compile'")
    try:
        content = json.loads(file.read_bytes())
    except ValueError:
        raise ArtifactError(f"{file} is not JSON: compile the model again") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{file} has format {found!r}, this version reads {FORMAT}")
    try:
        return Artifact(folder, Manifest.model_validate(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{file}: {where}: {first['msg']}") from None
