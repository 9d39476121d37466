"""c4n.json: the names, shapes and dtypes inside a C4n folder.

``docs/reference/format-c4n.md`` has them in prose.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tvm_c4n.checkpoint.json_reading import read_json, validated
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES
from tvm_c4n.errors import C4nError, CheckpointError, shown
from tvm_c4n.sparsity import C4nWeight, DType, part_shapes

FORMAT_VERSION = 1
MANIFEST = "c4n.json"
TENSORS = "model.safetensors"
PARTS = ("values", "positions", "scales")
VALUE_DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8", "int4": "U8"}
DENSE_DTYPES = ("F32", "F16")
MAX_SIZE = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,254}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WeightEntry(_Strict):
    """How one weight is stored."""

    rows: int = Field(ge=1, le=MAX_SIZE)
    cols: int = Field(ge=1, le=MAX_SIZE)
    removed: int = Field(ge=0, le=3)
    dtype: DType
    scale_group: int = Field(ge=0, le=MAX_SIZE)

    @model_validator(mode="after")
    def _fits(self) -> WeightEntry:
        try:
            part_shapes(self.rows, self.cols, self.removed, self.dtype, self.scale_group)
        except C4nError as error:
            raise ValueError(str(error)) from error
        return self

    @classmethod
    def of(cls, weight: C4nWeight) -> WeightEntry:
        """Describe a weight."""
        return cls(
            rows=int(weight.rows),  # numpy integers are not JSON
            cols=int(weight.cols),
            removed=int(weight.removed),
            dtype=weight.dtype,
            scale_group=int(weight.scale_group),
        )

    def tensors(self, name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Safetensors dtype and shape of each tensor that stores the weight ``name``."""
        shapes = part_shapes(self.rows, self.cols, self.removed, self.dtype, self.scale_group)
        dtypes = (VALUE_DTYPES[self.dtype], "U8", "F16")
        return {
            f"{name}.{part}": (dtype, shape)
            for part, dtype, shape in zip(PARTS, dtypes, shapes, strict=True)
            if shape is not None
        }


class Producer(_Strict):
    """The program that wrote the folder."""

    name: str = Field(max_length=100)
    version: str = Field(max_length=100)


class Manifest(_Strict):
    """The content of c4n.json."""

    format: Literal["c4n"]
    version: int = Field(ge=1, le=FORMAT_VERSION)
    tensors: dict[str, WeightEntry]
    producer: Producer | None = None

    @model_validator(mode="after")
    def _names(self) -> Manifest:
        for name in self.tensors:
            if not valid_name(name):
                raise ValueError(f"bad tensor name {shown(name)}")
        return self


def valid_name(name: str) -> bool:
    """Say whether a tensor may have this name: letters, digits, ``_ . -``, at most 255."""
    return _NAME.fullmatch(name) is not None and name != "__metadata__"


def is_part(name: str) -> bool:
    """Say whether a tensor's name ends as those of a stored weight's parts do."""
    return name.rpartition(".")[2] in PARTS


def read_manifest(path: Path) -> Manifest:
    """Read and validate c4n.json.

    Raises
    ------
    CheckpointError
        Missing, too large, not JSON, another format version, or any key or value out of place.
    """
    remedy = "prune the model again"
    value = read_json(path, MAX_INDEX_BYTES, remedy)
    version = value.get("version")
    if value.get("format") == "c4n" and type(version) is int and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {shown(version)} is newer than {FORMAT_VERSION}, "
            "the last this release reads; upgrade tvm-c4n"
        )
    return validated(Manifest, value, str(path), remedy)
