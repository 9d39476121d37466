"""Hugging Face folders: config.json and safetensors, whole or in shards."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.base import check_folder, find_extra_files, read_config
from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.original import PARAMS, convert_first, is_codestral
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES
from tvm_c4n.checkpoint.safetensors_file import SafetensorsFile
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.rows import Rows, rows_of
from tvm_c4n.sparsity import C4nWeight

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
FLOAT_DTYPES = ("F32", "F16", "BF16")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,254}")
_AGAIN = "download the model again"
# Parts of names: of early conversions, and those that transformers 5 has in memory.
_RENAMED = {
    "backbone.embedding.": "backbone.embeddings.",
    "block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
    "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear.weight",
    "block_sparse_moe.router.weight": "block_sparse_moe.router.layer.weight",
}


class HfCheckpoint:
    """A Hugging Face folder of a Mamba model; tensors are read on demand.

    Parameters
    ----------
    path : Path
        Folder with config.json and model.safetensors, or shards and their index.

    Raises
    ------
    CheckpointError
        On everything that is missing, damaged or unsupported; file and tensor are named.
    """

    def __init__(self, path: Path) -> None:
        check_folder(path)
        self.path = path
        self.config = read_config(path)
        self._files = _open_files(path)
        for name, file in self._files.items():
            dtype = file.entry(name).dtype
            if dtype not in FLOAT_DTYPES:
                raise CheckpointError(
                    f"{file.path}: tensor {shown(name)} has dtype {dtype}, supported: "
                    f"{', '.join(FLOAT_DTYPES)}; save the model as float16 or float32"
                )
        self._stored = {_modern_name(name): name for name in self._files}
        if len(self._stored) != len(self._files):
            twice = Counter(map(_modern_name, self._files)).most_common(1)[0][0]
            raise CheckpointError(f"{path}: holds {shown(twice)} under two names; {_AGAIN}")

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors as they are stored."""
        entries = (file.entry(name) for name, file in self._files.items())
        return sum(entry.end - entry.begin for entry in entries)

    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._stored)

    def _locate(self, name: str) -> tuple[SafetensorsFile, str, Rows | None]:
        """Find a tensor, or the one that has its rows."""
        rows = None if name in self._stored else rows_of(name)
        stored = self._stored.get(rows.source if rows else name)
        if stored is not None:
            file = self._files[stored]
            if rows is None or rows.shape_in(file.entry(stored).shape):
                return file, stored, rows
        raise CheckpointError(f"{self.path}: tensor {shown(name)} is missing; {_AGAIN}")

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""
        file, stored, rows = self._locate(name)
        shape = file.entry(stored).shape
        return (rows and rows.shape_in(shape)) or shape

    def dtype(self, name: str) -> str:
        """Name the dtype that a tensor is stored in, as safetensors does: ``"F16"``."""
        file, stored, _ = self._locate(name)
        return file.entry(stored).dtype

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor as float32. NaN and infinities come through: the caller judges them."""
        file, stored, rows = self._locate(name)
        found = file.read_float32(stored)
        return rows.taken_from(found) if rows else found

    def weight(self, name: str) -> C4nWeight | None:
        """Return None: nothing is packed here. CheckpointError if the tensor is missing."""
        self._locate(name)
        return None

    def extra_files(self) -> list[Path]:
        """Tokenizer and licence files of the folder."""
        return find_extra_files(self.path)


def _modern_name(name: str) -> str:
    """Return the name that a tensor has in the files of today, whatever transformers wrote."""
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name


def _open_files(folder: Path) -> dict[str, SafetensorsFile]:
    """Map every tensor name to the file that holds it."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_symlink() or single.exists():  # a dangling link is reported as missing
        file = SafetensorsFile(single)
        return dict.fromkeys(file.entries, file)
    if not index.exists():
        raise CheckpointError(_no_weights(folder))
    shard_of = read_index(index)
    shards = {shard: _open_shard(folder, index, shard) for shard in sorted(set(shard_of.values()))}
    for name, shard in shard_of.items():
        if name not in shards[shard].entries:
            raise CheckpointError(
                f"{shards[shard].path}: tensor {shown(name)} is missing, though {INDEX} "
                f"says that it is there; {_AGAIN}"
            )
    for shard, file in shards.items():
        for name in file.entries:
            if name in shard_of and shard_of[name] != shard:
                raise CheckpointError(
                    f"{file.path}: tensor {shown(name)} is a duplicate of the one in "
                    f"{shard_of[name]}; {_AGAIN}"
                )
    return {name: shards[shard] for name, shard in shard_of.items()}


def read_index(index: Path) -> dict[str, str]:
    """Read which shard has each tensor; CheckpointError on what is no plain name of a shard."""
    weight_map = read_json(index, MAX_INDEX_BYTES, _AGAIN).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map of tensors to shards; {_AGAIN}")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: shard {shown(shard)} of tensor {shown(name)} is no .safetensors file; "
                f"{_AGAIN}"
            )
        if not _PLAIN_NAME.fullmatch(shard):
            raise CheckpointError(
                f"{index}: shard {shown(shard)} of tensor {shown(name)} is not a plain file name; "
                "shards must lie in the folder, so do not trust this model"
            )
    return weight_map


def _open_shard(folder: Path, index: Path, shard: str) -> SafetensorsFile:
    path = folder / shard
    if not path.is_file():
        raise CheckpointError(f"{path}: shard named by {index.name} is missing; {_AGAIN}")
    return SafetensorsFile(path)


def _no_weights(folder: Path) -> str:
    if is_codestral(folder):
        return convert_first(folder / PARAMS)
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return (
            f"{folder / pickles[0]}: only pickle weights here, and unpickling executes code from "
            "the file, so they are not read; use the `-hf` repository with safetensors, or "
            "convert with `model.save_pretrained(DIR, safe_serialization=True)`"
        )
    return f"{folder}: neither {SINGLE} nor {INDEX} is here; {_AGAIN}"
