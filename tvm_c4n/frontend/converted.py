"""What every converter gives, and what it checks before it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.rows import rows_of

# What a config.json calls the dtypes of safetensors.
TORCH_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Converted:
    """What a converter wrote.

    Attributes
    ----------
    config : ModelConfig
    size_bytes : int
        Of all tensors.
    copied : tuple of str
        Names of the tokenizer and licence files that came along.
    tokenizer : str
        Who has the model's tokenizer, for where none came along.
    """

    config: ModelConfig
    size_bytes: int
    copied: tuple[str, ...]
    tokenizer: str


class _Shapes:
    """Shapes as `check_tensors` looks at them."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def names(self) -> list[str]:
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]


def check_exact(
    description: ModelConfig, file: Path, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a file whose tensors are not exactly those of its model.

    Raises
    ------
    CheckpointError
        A tensor is missing, has another shape, or is in no such model.
    """
    try:
        check_tensors(description, _Shapes(shapes))
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    wanted = {rows.source if (rows := rows_of(n)) else n for n in description.tensor_shapes()}
    for name in sorted(shapes.keys() - wanted):
        raise CheckpointError(
            f"{file}: tensor {shown(name)} is in no model of its config, so the model is another "
            "one than it seems"
        )
