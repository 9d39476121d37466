"""A GGUF file to a Hugging Face folder, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from tvm_c4n.checkpoint.dense_export import dense_config
from tvm_c4n.checkpoint.files import write_atomically
from tvm_c4n.checkpoint.hf_writer import write_hf_folder
from tvm_c4n.checkpoint.safetensors_file import DTYPE_BYTES, little_endian
from tvm_c4n.errors import CheckpointError
from tvm_c4n.extras import require
from tvm_c4n.frontend.converted import TORCH_NAMES, Converted, check_exact
from tvm_c4n.model.families import describe_model
from tvm_c4n.progress import Progress


def convert_gguf(
    source: Path, out: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Converted:
    """Turn a GGUF file into a folder that transformers and this package read.

    F32, F16 and BF16 tensors keep their type; those of Q8_0 become float32, which holds them
    exactly.

    Parameters
    ----------
    source : Path
    out : str or Path
        The Hugging Face folder; it appears whole or not at all.
    overwrite : bool
        Replace an existing Hugging Face folder.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    CheckpointError
        The file is damaged, of a type or architecture that is not read, or its tensors are not
        those of its keys.
    C4nError
        The gguf package is not installed.
    """
    require("gguf", f"reading {source.name}")
    from tvm_c4n.frontend.gguf.config import config_of
    from tvm_c4n.frontend.gguf.file import GgufFile
    from tvm_c4n.frontend.gguf.tokenizer import NoTokenizer, text_files
    from tvm_c4n.frontend.gguf.weights import HfTensor, tensors_of

    file = GgufFile(source)
    config = config_of(file)
    try:
        description = describe_model(config)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    tensors: dict[str, HfTensor] = tensors_of(file, config)
    check_exact(description, source, {name: tensor.shape for name, tensor in tensors.items()})
    done = iter(range(1, len(tensors) + 1))

    def data(name: str) -> Iterable[memoryview]:
        if progress is not None:
            progress(name, next(done), len(tensors))
        yield little_endian(tensors[name].read())

    stored = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    torch_dtype = TORCH_NAMES[tensors[description.embeddings].dtype]
    missing = ""
    with TemporaryDirectory() as folder:
        try:
            texts = text_files(file)
        except NoTokenizer as error:
            texts, missing = {}, str(error)
        extra = [Path(folder) / name for name in texts]
        for path in extra:
            write_atomically(path, texts[path.name])
        write_hf_folder(
            out, stored, data, dense_config(config, torch_dtype), extra, overwrite=overwrite
        )
    size = sum(prod(shape) * DTYPE_BYTES[dtype] for dtype, shape in stored.values())
    return Converted(description, size, tuple(texts), f"the model's repository ({missing})")
