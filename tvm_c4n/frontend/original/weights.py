"""The authors' weights by name: of a safetensors file, or of a pickle that torch saved.

Pickles are read nowhere else. torch reads them with ``weights_only``, which runs no code of the
file, and maps the tensors, so that none is in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES, check_head
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.extras import require

_AGAIN = "download the model again"
# By their names in safetensors.
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# Elements that are copied at a time.
_PIECE = 1 << 22


@dataclass(frozen=True)
class Stored:
    """A tensor of a file: its dtype as safetensors has it, its shape, and its bytes in pieces."""

    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[memoryview]]


def read_weights(path: Path) -> dict[str, Stored]:
    """Open a file of weights.

    Parameters
    ----------
    path : Path
        Safetensors if it is called so, else what torch saved.

    Raises
    ------
    CheckpointError
        Missing, damaged, holding something else than tensors by name, or of another dtype than
        float32, float16 and bfloat16. Of a pickle nothing was run.
    C4nError
        A pickle, and torch is not installed.
    """
    found = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    for name, tensor in found.items():
        if tensor.dtype not in _DTYPES.values():
            raise CheckpointError(
                f"{path}: tensor {shown(name)} has dtype {tensor.dtype}, supported: "
                f"{', '.join(_DTYPES.values())}; save the model as one of these"
            )
    return found


def _safetensors(path: Path) -> dict[str, Stored]:
    file = SafetensorsFile(path, _AGAIN)

    def stored(name: str) -> Stored:
        entry = file.entries[name]
        return Stored(entry.dtype, entry.shape, lambda: file.pieces(name))

    return {name: stored(name) for name in file.entries}


def _pickle(path: Path) -> dict[str, Stored]:
    check_head(path, _AGAIN)
    require("prune", f"reading {path.name}")
    _check_archive(path)
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever unpickling raises
        raise CheckpointError(
            f"{path}: holds something else than weights ({type(error).__name__}), and none of it "
            f"was run; {_AGAIN}"
        ) from None
    size_bytes = path.stat().st_size
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no tensors by name; {_AGAIN}")
    for name, tensor in content.items():
        whole = (
            isinstance(name, str)
            and type(tensor) in (torch.Tensor, torch.nn.Parameter)
            and tensor.layout is torch.strided
            and tensor.device.type == "cpu"
            # A view that repeats what is stored would be larger than the file.
            and tensor.numel() * tensor.element_size() <= size_bytes
        )
        if not whole:
            raise CheckpointError(f"{path}: {shown(name)} is no tensor of a model; {_AGAIN}")
    return {name: _stored(tensor.detach()) for name, tensor in content.items()}


def _check_archive(path: Path) -> None:
    """Refuse what torch >= 1.6 does not write: no archive, or one that grows when it is read."""
    try:
        with ZipFile(path) as archive:
            parts = archive.infolist()
    except (BadZipFile, ValueError, NotImplementedError, OSError):
        raise CheckpointError(
            f"{path}: not what torch.save writes; {_AGAIN}, or if torch before 1.6 wrote it, save "
            "it again with a later one"
        ) from None
    for part in parts:
        too_large = part.filename.endswith("data.pkl") and part.file_size > MAX_INDEX_BYTES
        if part.compress_type != ZIP_STORED or too_large:
            raise CheckpointError(f"{path}: not what torch.save writes; {_AGAIN}")


def _stored(tensor: Any) -> Stored:
    kind = str(tensor.dtype).removeprefix("torch.")
    return Stored(_DTYPES.get(kind, kind), tuple(tensor.shape), lambda: _pieces(tensor))


def _pieces(tensor: Any) -> Iterator[memoryview]:
    import torch

    rows = tensor if tensor.ndim else tensor[None]
    step = max(1, _PIECE * len(rows) // max(1, rows.numel()))
    for start in range(0, len(rows), step):
        piece = rows[start : start + step].contiguous()
        yield piece.reshape(-1).view(torch.uint8).numpy().data
