"""A request that a file can hold: fields checked by pydantic, from YAML or JSON or a report."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tvm_c4n.checkpoint.json_reading import read_json
from tvm_c4n.checkpoint.reading import MAX_INDEX_BYTES
from tvm_c4n.errors import RecipeError, shown


class RecipeFile(BaseModel):
    """What `Recipe` and `HealSettings` share.

    Attributes
    ----------
    IN_REPORT : str
        The key of a report that has the request that it reports.
    OLD_REPORTS : mapping of str to Any
        What a report means that lacks a field.
    REMEDY : str
        What an error line advises.

    Raises
    ------
    RecipeError
        On construction, with one line that names the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    IN_REPORT: ClassVar[str]
    OLD_REPORTS: ClassVar[Mapping[str, Any]] = {}
    REMEDY: ClassVar[str]

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise RecipeError(self._reason(error)) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a request.

        Parameters
        ----------
        path : path
            YAML, or JSON if its name ends with ``.json``: the fields of a request, or the report of
            a C4n folder, which has the request that makes the folder again.

        Raises
        ------
        RecipeError
            Missing, too large, damaged, or with a key or value that a request does not have.
        """
        from tvm_c4n.checkpoint.yaml_reading import read_yaml  # not above: few programs need YAML

        path = Path(path)
        if path.suffix == ".json":
            found = read_json(path, MAX_INDEX_BYTES, cls.REMEDY, RecipeError)
        else:
            found = read_yaml(path, cls.REMEDY, RecipeError)
        reported = found.get(cls.IN_REPORT)
        try:
            return cls(**({**cls.OLD_REPORTS, **reported} if isinstance(reported, dict) else found))
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None

    def to_yaml(self) -> str:
        """Return what `from_file` reads: YAML with all fields."""
        import yaml

        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))

    @classmethod
    def _reason(cls, error: ValidationError) -> str:
        """Say which key has which value, and what is allowed."""
        first = error.errors()[0]
        name = ".".join(part for part in first["loc"] if isinstance(part, str))
        said = f"{name}={shown(first['input'])}"
        if first["type"] != "extra_forbidden":
            return f"{said}: {first['msg']}"
        known = list(cls.model_fields)
        near = get_close_matches(name, known, n=1)
        hint = f"the nearest is {near[0]}" if near else f"known are {', '.join(known)}"
        return f"{said}: a recipe has no such key; {hint}"
