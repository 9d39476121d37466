"""Hugging Face folders that are not what they seem; see hostile.py."""

from __future__ import annotations

from pathlib import Path

from hostile import MODEL, hf, join, put_index, shard


@hf
def tensor_of_integers(folder: Path) -> str:
    """Weights stored as int64 are no weights of a Mamba model."""
    text = b'{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}'
    return join(folder / MODEL, text, bytes(8))


@hf
def only_pickles(folder: Path) -> str:
    """A .bin file is a pickle, and unpickling runs what the file says."""
    (folder / MODEL).rename(folder / "pytorch_model.bin")
    return "pytorch_model.bin"


@hf
def no_weights(folder: Path) -> str:
    """A folder with a config.json alone has nothing to read."""
    (folder / MODEL).unlink()
    return folder.name


@hf
def index_leaves_the_folder(folder: Path) -> str:
    """A shard called ../x reads a file that the user never named."""
    index = shard(folder)
    (folder.parent / "one.safetensors").write_bytes((folder / "one.safetensors").read_bytes())
    index["weight_map"] = dict.fromkeys(index["weight_map"], "../one.safetensors")
    return put_index(folder, index)


@hf
def index_absolute_path(folder: Path) -> str:
    """Joining an absolute path to a folder gives the absolute path."""
    index = shard(folder)
    index["weight_map"] = dict.fromkeys(index["weight_map"], str(folder / "one.safetensors"))
    return put_index(folder, index)


@hf
def index_null_byte(folder: Path) -> str:
    """A zero byte ends a path for the operating system and not for Python."""
    index = shard(folder)
    index["weight_map"] = dict.fromkeys(index["weight_map"], "one\0.safetensors")
    return put_index(folder, index)


@hf
def index_long_name(folder: Path) -> str:
    """A name longer than file systems allow raises OSError when it is looked up."""
    index = shard(folder)
    index["weight_map"] = dict.fromkeys(index["weight_map"], "x" * 5000 + ".safetensors")
    return put_index(folder, index)


@hf
def index_missing_shard(folder: Path) -> str:
    """The index names a shard that was not downloaded."""
    index = shard(folder)
    index["weight_map"] = dict.fromkeys(index["weight_map"], "three.safetensors")
    put_index(folder, index)
    return "three.safetensors"


@hf
def index_missing_tensor(folder: Path) -> str:
    """The index names a tensor that its shard does not hold."""
    index = shard(folder)
    index["weight_map"]["ghost"] = "one.safetensors"
    put_index(folder, index)
    return "one.safetensors"


@hf
def index_duplicate_tensor(folder: Path) -> str:
    """Two shards hold the same tensor, and only one of them is meant."""
    index = shard(folder)
    index["weight_map"][next(iter(index["weight_map"]))] = "two.safetensors"
    put_index(folder, index)
    return ".safetensors"


@hf
def index_without_map(folder: Path) -> str:
    """An index without weight_map says nothing."""
    shard(folder)
    return put_index(folder, {"metadata": {}})


@hf
def index_of_numbers(folder: Path) -> str:
    """A shard that is no string cannot be a file name."""
    shard(folder)
    return put_index(folder, {"weight_map": {"a": 1}})


@hf
def index_names_a_pickle(folder: Path) -> str:
    """An index may not lead the reader to a pickle."""
    shard(folder)
    return put_index(folder, {"weight_map": {"a": "pytorch_model.bin"}})
