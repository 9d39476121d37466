"""A folder in its authors' format to a Hugging Face folder, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

from tvm_c4n.checkpoint.base import CONFIG, check_folder, find_extra_files
from tvm_c4n.checkpoint.dense_export import dense_config
from tvm_c4n.checkpoint.hf import SINGLE
from tvm_c4n.checkpoint.hf_writer import write_hf_folder
from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.original import (
    CONSOLIDATED,
    PARAMS,
    PICKLE,
    is_codestral,
    is_state_spaces,
)
from tvm_c4n.checkpoint.reading import MAX_CONFIG_BYTES
from tvm_c4n.checkpoint.safetensors_file import DTYPE_BYTES
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.frontend.converted import TORCH_NAMES, Converted, check_exact
from tvm_c4n.frontend.original.config import of_codestral, of_state_spaces
from tvm_c4n.frontend.original.weights import Stored, read_weights
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.progress import Progress

_AGAIN = "download the model again"
# Repositories of tokenizers, where the model's own has none.
_NEOX, _CODESTRAL = "EleutherAI/gpt-neox-20b", "mistralai/Mamba-Codestral-7B-v0.1"


def convert(
    source: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Turn a folder in its authors' format into one that transformers and this package read.

    Bytes of tensors are copied as they are; only names and the config change.

    Parameters
    ----------
    source : str or Path
        config.json of state-spaces with model.safetensors or pytorch_model.bin, or Codestral
        Mamba's params.json with consolidated.safetensors.
    out : str or Path
        The Hugging Face folder; it appears whole or not at all.
    overwrite : bool
        Replace an existing Hugging Face folder.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    CheckpointError
        The folder is of another kind, a file is missing or damaged, the model is not supported, or
        its tensors are not those of its config.
    C4nError
        pytorch_model.bin, and torch is not installed.
    """
    source = Path(source)
    check_folder(source)
    if Path(out).resolve() == source.resolve():
        raise CheckpointError(f"{out}: is the model itself; name another folder to write")
    config, file, tokenizer = _open(source)
    tensors = _renamed(file, read_weights(file))
    description = describe_model(config)
    _check(description, file, tensors)
    if "lm_head.weight" in tensors and description.tie_embeddings:
        _check_tied(file, tensors, description.embeddings)
        del tensors["lm_head.weight"]
    done = iter(range(1, len(tensors) + 1))

    def data(name: str) -> Iterable[memoryview]:
        if progress is not None:
            progress(name, next(done), len(tensors))
        return tensors[name].pieces()

    stored = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    extra = find_extra_files(source)
    torch_dtype = TORCH_NAMES[tensors[description.embeddings].dtype]
    write_hf_folder(
        out, stored, data, dense_config(config, torch_dtype), extra, overwrite=overwrite
    )
    size = sum(prod(shape) * DTYPE_BYTES[dtype] for dtype, shape in stored.values())
    return Converted(description, size, tuple(path.name for path in extra), tokenizer)


def _open(source: Path) -> tuple[dict[str, Any], Path, str]:
    """Return Hugging Face's config, the file of weights, and who has the tokenizer."""
    if is_codestral(source):
        return _config(source / PARAMS, of_codestral), source / CONSOLIDATED, _CODESTRAL
    path = source / CONFIG
    content = read_json(path, MAX_CONFIG_BYTES, _AGAIN)
    if not is_state_spaces(content):
        kind = content.get("model_type")
        raise CheckpointError(
            f"{path}: has neither d_model nor ssm_cfg, so it is no original model; give prune, "
            "compile or run the folder as it is"
            if kind is None
            else f"{path}: has model_type {shown(kind)}, so it is a Hugging Face folder already; "
            "give prune, compile or run the folder as it is"
        )
    files = [source / name for name in (SINGLE, PICKLE) if (source / name).exists()]
    if not files:
        raise CheckpointError(f"{source}: neither {SINGLE} nor {PICKLE} is here; {_AGAIN}")
    return _config(path, of_state_spaces, content), files[0], _NEOX


def _config(
    path: Path,
    translate: Callable[[dict[str, Any]], dict[str, Any]],
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Translate a config and see that what comes out is supported."""
    content = read_json(path, MAX_CONFIG_BYTES, _AGAIN) if content is None else content
    try:
        config = translate(content)
        describe_model(config)
    except CheckpointError as error:
        raise CheckpointError(f"{path.parent}: {error}") from None
    return config


def _renamed(file: Path, tensors: dict[str, Stored]) -> dict[str, Stored]:
    """Give tensors Hugging Face's names: mamba_ssm's but for the embeddings.

    Mistral's wrapper has the model as its attribute ``model``.
    """
    found: dict[str, Stored] = {}
    for original, tensor in tensors.items():
        name = original.removeprefix("model.")
        name = name.replace("backbone.embedding.", "backbone.embeddings.")
        if name in found:
            raise CheckpointError(f"{file}: holds {shown(name)} twice; {_AGAIN}")
        found[name] = tensor
    return found


def _check(description: ModelConfig, file: Path, tensors: dict[str, Stored]) -> None:
    """Refuse a file whose tensors are not exactly those of the model.

    Where the embeddings are the head, either may stand for both.
    """
    head, embeddings = "lm_head.weight", description.embeddings
    if description.tie_embeddings and head in tensors and embeddings not in tensors:
        tensors[embeddings] = tensors.pop(head)
    tied = {head} if description.tie_embeddings else set()
    shapes = {name: tensors[name].shape for name in tensors.keys() - tied}
    check_exact(description, file, shapes)


def _check_tied(file: Path, tensors: dict[str, Stored], embeddings: str) -> None:
    """Refuse a head that is not the embedding matrix, though the config says so."""
    head, other = tensors["lm_head.weight"], tensors[embeddings]
    same = (head.dtype, head.shape) == (other.dtype, other.shape)
    pairs = zip_longest(head.pieces(), other.pieces(), fillvalue=memoryview(b"")) if same else ()
    if not same or any(one != two for one, two in pairs):
        raise CheckpointError(
            f"{file}: lm_head.weight is not the embedding matrix, though the config says so; set "
            "tie_embeddings to false if the head is its own"
        )
