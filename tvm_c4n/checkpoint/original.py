"""Models in other formats, which `tvm-c4n convert` turns into Hugging Face folders."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvm_c4n.checkpoint.reading import open_regular
from tvm_c4n.errors import CheckpointError

# What Codestral Mamba is published as.
PARAMS, CONSOLIDATED = "params.json", "consolidated.safetensors"
# What state-spaces publishes beside its config.json.
PICKLE = "pytorch_model.bin"
# What every file of llama.cpp begins with.
GGUF_MAGIC = b"GGUF"


def is_codestral(folder: Path) -> bool:
    """Return whether a folder has both files of Codestral Mamba."""
    return (folder / PARAMS).is_file() and (folder / CONSOLIDATED).is_file()


def is_state_spaces(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json is one of state-spaces, which names no model_type."""
    return "model_type" not in config and ("d_model" in config or "ssm_cfg" in config)


def is_gguf(path: Path) -> bool:
    """Return whether a path is a file that begins as GGUF does."""
    try:
        stream, _ = open_regular(path, "")
    except CheckpointError:
        return False
    with stream:
        return stream.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def convert_gguf_first(file: Path) -> str:
    """Return the line that refuses a GGUF file where a folder is needed."""
    out = f"{file.stem}-hf"
    return (
        f"{file}: a GGUF file of llama.cpp; convert it with "
        f"`tvm-c4n convert {shlex.quote(str(file))} -o {shlex.quote(out)}`, then give {out}"
    )


def convert_first(file: Path) -> str:
    """Return the line that refuses the folder of a config in its authors' format."""
    folder = file.parent
    out = f"{folder.resolve().name}-hf"
    return (
        f"{file}: in the format of its authors, not of Hugging Face; convert it with "
        f"`tvm-c4n convert {shlex.quote(str(folder))} -o {shlex.quote(out)}`"
    )
