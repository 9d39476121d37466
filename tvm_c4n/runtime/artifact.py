"""The artifact folder: code, packed weights and a manifest that says what they are.

``model-<digest>.so`` holds the virtual machine's code and the kernels (a name for each content,
because a process that has a library open gets it again under the same name, whatever the file has
become), ``weights.bin`` the packed weights
at offsets that are multiples of 64, in the order of the functions' trailing parameters,
``manifest.json`` the rest. ``tokenizer.json`` is copied from the checkpoint, and with it the files
that may have a chat template; which tokens start and end a text is in the manifest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tvm_c4n.checkpoint.json_reading import read_json, validated
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES, file_size
from tvm_c4n.errors import ArtifactError, CheckpointError, shown
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer, read_tokenizer
from tvm_c4n.runtime.huge_pages import map_file
from tvm_c4n.runtime.manifest import FORMAT, Manifest

MANIFEST, WEIGHTS = "manifest.json", "weights.bin"
# A compiled model has 0.1 to 0.5 MB of code; hashing what is far larger would only take time.
MAX_LIBRARY_BYTES = 1 << 26
_AGAIN = "compile the model again"


@dataclass(frozen=True)
class Artifact:
    """An artifact folder whose manifest has been read."""

    path: Path
    manifest: Manifest

    def check_weights(self) -> None:
        """Compare the size of weights.bin with the manifest.

        Raises
        ------
        ArtifactError
            It is missing, no regular file, or has more or fewer bytes than its tensors.
        """
        file, expected = self.path / WEIGHTS, self.manifest.file_bytes
        found = file_size(file, _AGAIN, ArtifactError)
        if found != expected:
            raise ArtifactError(f"{file} has {found} bytes, its tensors have {expected}; {_AGAIN}")

    def weights(self) -> list[NDArray[Any]]:
        """Bring the packed weights into memory as one block; writes do not reach the file.

        Raises
        ------
        ArtifactError
            As `check_weights`.
        """
        self.check_weights()
        block = map_file(self.path / WEIGHTS)
        return [
            block[tensor.offset : tensor.end].view(tensor.dtype).reshape(tensor.shape)
            for tensor in self.manifest.tensors
        ]

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
        return TextTokenizer(read_tokenizer(self.path), text.start, text.ends, self.path)

    def verify(self, *, code_only: bool = False) -> None:
        """Compare the files with the manifest's sizes and sha256.

        Parameters
        ----------
        code_only : bool
            Leave out the weights' sha256: hashing gigabytes would make a start half as long again.
            What is wrong in them makes bad text; what is wrong in the code is run.

        Raises
        ------
        ArtifactError
            Names the file that was changed or is missing.
        """
        expected = {self.manifest.library: self.manifest.library_sha256}
        size = file_size(self.path / self.manifest.library, _AGAIN, ArtifactError)
        if size > MAX_LIBRARY_BYTES:
            raise ArtifactError(
                f"{self.path / self.manifest.library}: {size} bytes is too large for a library "
                f"(limit {MAX_LIBRARY_BYTES}); {_AGAIN}"
            )
        self.check_weights()
        if not code_only:
            expected[WEIGHTS] = self.manifest.weights_sha256
        for name, digest in expected.items():
            if sha256_of(self.path / name) != digest:
                raise ArtifactError(
                    f"{self.path / name} is not the file that was compiled; {_AGAIN}"
                )


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
    if not file.exists():
        raise ArtifactError(f"{folder} is no compiled model: make one with 'tvm-c4n compile'")
    content = read_json(file, MAX_INDEX_BYTES, _AGAIN, ArtifactError)
    if content.get("format") != FORMAT:
        found = shown(content.get("format"))
        raise ArtifactError(f"{file} has format {found}, this version reads {FORMAT}")
    manifest = validated(Manifest, content, str(file), _AGAIN, ArtifactError)
    try:
        manifest.check()
    except (ArtifactError, CheckpointError) as error:
        raise ArtifactError(f"{file}: {error}; {_AGAIN}") from error
    return Artifact(folder, manifest)
