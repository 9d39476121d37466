"""c4n.json: the names, shapes and dtypes inside a C4n folder.

``docs/reference/format-c4n.md`` has them in prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tvm_c4n.checkpoint.json_reading import read_json, validated
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES
from tvm_c4n.errors import C4nError, CheckpointError, shown
from tvm_c4n.model.rows import rows_of
from tvm_c4n.sparsity import (
    FIELD_BITS,
    AnyWeight,
    C4nWeight,
    DType,
    Removed,
    StackedWeight,
    part_shapes,
)
from tvm_c4n.sparsity.pattern import MAX_REMOVED

# The last version that is read: the first one had no weights whose matrices differ in n, the second
# no weights of three and two bits.
FORMAT_VERSION = 3
# Of a weight: models have fewer experts.
MAX_MATRICES = 1024
MANIFEST = "c4n.json"
TENSORS = "model.safetensors"
PARTS = ("values", "positions", "scales")
VALUE_DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8"} | dict.fromkeys(FIELD_BITS, "U8")
_NEW_IN_3 = ("int3", "int2")
DENSE_DTYPES = ("F32", "F16")
MAX_SIZE = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,254}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WeightEntry(_Strict):
    """How one weight is stored; ``removed`` is a list of n of each matrix where these differ."""

    rows: int = Field(ge=1, le=MAX_SIZE)
    cols: int = Field(ge=1, le=MAX_SIZE)
    removed: Removed
    dtype: DType
    scale_group: int = Field(ge=0, le=MAX_SIZE)

    @field_validator("removed", mode="before")
    @classmethod
    def _check_removed(cls, value: Any) -> Any:
        each = value if isinstance(value, list | tuple) else [value]
        if any(type(n) is not int or not 0 <= n <= MAX_REMOVED for n in each):
            raise ValueError(f"n of every 4 is {shown(value)}; it should be 0, 1, 2 or 3")
        if each is value and not 1 < len(set(each)) <= len(each) <= MAX_MATRICES:
            raise ValueError(f"a list of n has 2 to {MAX_MATRICES} numbers, not all the same")
        return tuple(value) if each is value else value

    @model_validator(mode="after")
    def _fits(self) -> WeightEntry:
        if isinstance(self.removed, tuple) and self.rows % len(self.removed):
            raise ValueError(f"{self.rows} rows are no multiple of {len(self.removed)} matrices")
        try:
            self.tensors("")
        except C4nError as error:
            raise ValueError(str(error)) from error
        return self

    @classmethod
    def of(cls, weight: AnyWeight) -> WeightEntry:
        """Describe a weight."""
        removed = weight.removed
        return cls(
            rows=int(weight.rows),  # numpy integers are not JSON
            cols=int(weight.cols),
            removed=removed if isinstance(removed, tuple) else int(removed),
            dtype=weight.dtype,
            scale_group=int(weight.scale_group),
        )

    @property
    def least_version(self) -> int:
        """The first format version that can say this."""
        if self.dtype in _NEW_IN_3:
            return 3
        return 2 if isinstance(self.removed, tuple) else 1

    def parts(self) -> list[tuple[str, int, int]]:
        """Return of each n what follows the weight's name, n, and the rows that have it."""
        if not isinstance(self.removed, tuple):
            return [("", self.removed, self.rows)]
        rows = self.rows // len(self.removed)
        return [(f".n{n}", n, rows * self.removed.count(n)) for n in sorted(set(self.removed))]

    def tensors(self, name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Safetensors dtype and shape of each tensor that stores the weight ``name``."""
        dtypes = (VALUE_DTYPES[self.dtype], "U8", "F16")
        return {
            f"{name}{suffix}.{part}": (dtype, shape)
            for suffix, removed, rows in self.parts()
            for part, dtype, shape in zip(
                PARTS,
                dtypes,
                part_shapes(rows, self.cols, removed, self.dtype, self.scale_group),
                strict=True,
            )
            if shape is not None
        }

    def arrays(self, name: str, weight: AnyWeight) -> dict[str, NDArray[Any]]:
        """Return the arrays of the weight that this describes, by the names of `tensors`."""
        own = weight.parts if isinstance(weight, StackedWeight) else (weight,)
        stored = self.tensors(name)
        return {
            tensor: getattr(part, kind)
            for (suffix, _, _), part in zip(self.parts(), own, strict=True)
            for kind in PARTS
            if (tensor := f"{name}{suffix}.{kind}") in stored
        }

    def weight(self, name: str, read: Callable[[str], Any]) -> AnyWeight:
        """Return the weight ``name``, of tensors that are read by their names.

        Raises
        ------
        C4nError
            Its content is not valid.
        """
        stored = self.tensors(name)
        found = []
        for suffix, removed, rows in self.parts():
            own = {part: f"{name}{suffix}.{part}" for part in PARTS}
            arrays = {part: read(tensor) for part, tensor in own.items() if tensor in stored}
            found.append(
                C4nWeight(rows, self.cols, removed, self.dtype, self.scale_group, **arrays)
            )
        each = self.removed
        weight = StackedWeight(each, tuple(found)) if isinstance(each, tuple) else found[0]
        weight.check()
        return weight


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
        for name, entry in self.tensors.items():
            if not valid_name(name):
                raise ValueError(f"bad tensor name {shown(name)}")
            if self.version < entry.least_version:
                raise ValueError(
                    f"{shown(name)} needs format version {entry.least_version}, not {self.version}"
                )
            if not isinstance(entry.removed, tuple):
                continue
            rows, matrices = rows_of(name), len(entry.removed)
            if rows is None or rows.each != matrices:
                raise ValueError(
                    f"{shown(name)} has a list of {matrices} n, for which its name gives as many "
                    "matrices"
                )
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
