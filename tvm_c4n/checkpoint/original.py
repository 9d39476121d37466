"""Models in their authors' format, which `tvm-c4n convert` turns into Hugging Face folders."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What Codestral Mamba is published as.
PARAMS, CONSOLIDATED = "params.json", "consolidated.safetensors"
# What state-spaces publishes beside its config.json.
PICKLE = "pytorch_model.bin"


def is_codestral(folder: Path) -> bool:
    """Return whether a folder has both files of Codestral Mamba."""
    return (folder / PARAMS).is_file() and (folder / CONSOLIDATED).is_file()


def is_state_spaces(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json is one of state-spaces, which names no model_type."""
    return "model_type" not in config and ("d_model" in config or "ssm_cfg" in config)


def convert_first(file: Path) -> str:
    """Return the line that refuses the folder of a config in its authors' format."""
    folder = file.parent
    out = f"{folder.resolve().name}-hf"
    return (
        f"{file}: in the format of its authors, not of Hugging Face; convert it with "
        f"`tvm-c4n convert {shlex.quote(str(folder))} -o {shlex.quote(out)}`"
    )
