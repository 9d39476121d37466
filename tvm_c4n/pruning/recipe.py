"""What to remove and how: the pruning recipe. Imports neither torch nor tvm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.config import EMBEDDINGS, HEAD, PROJECTIONS, MambaConfig
from tvm_c4n.sparsity import GROUP, DType, default_scale_group

Method = Literal["obs", "sparsegpt", "wanda", "magnitude"]
WeightDType = Literal["float16", "int8", "int4"]
Ablation = Literal[
    "permute", "corrected_target", "rms", "joint", "refit", "reselect", "error_feedback"
]
METHODS: tuple[str, ...] = get_args(Method)
ABLATIONS: tuple[str, ...] = get_args(Ablation)
# Names in recipes and reports of the first version, which are still read.
_OLD_FIELDS = {"damp": "dampening_frac"}
_OLD_ABLATIONS = {"imitate": "corrected_target", "feedback": "error_feedback"}

# An integer ``removed`` applies to these. x_proj and dt_proj are under 5 % of the weights and
# drive the selection, so they stay dense unless they are named.
PRUNED_BY_DEFAULT = ("in_proj", "out_proj")

# dtype of each part, by the recipe's dtype. Activations of an int8 dt_proj stay floats.
_DTYPES: dict[str, dict[str, DType]] = {
    "float16": dict.fromkeys((*PROJECTIONS, "head"), "float16"),
    "int8": dict.fromkeys((*PROJECTIONS, "head"), "int8"),
    "int4": {
        **dict.fromkeys(("in_proj", "x_proj", "out_proj"), "int4"),
        **dict.fromkeys(("dt_proj", "head"), "int8"),
    },
}
_KEY = re.compile(rf"(layers\.(\d+)\.)?({'|'.join(PROJECTIONS)})")


class Choice(NamedTuple):
    """How one weight is stored: n of every 4 removed, and the dtype of the kept ones."""

    removed: int
    dtype: DType


def needs_calibration(plan: Mapping[str, Choice]) -> bool:
    """Say whether weights must make up for a loss: some are removed, or have 4 bits only.

    Rounding a whole model to int8 or float16 loses so little (docs/decisions/pruning-speed.md) that
    it is rounded to nearest.
    """
    return any(choice.removed or choice.dtype == "int4" for choice in plan.values())


class Recipe(BaseModel):
    """A pruning request.

    Attributes
    ----------
    removed : int or dict
        n, how many of every 4 contiguous weights of a row go. An int applies to in_proj and
        out_proj. A dict gives it per projection (``{"in_proj": 2, "x_proj": 1}``) and per layer
        (``{"layers.3.out_proj": 1}``, which wins); what it does not name stays dense.
    method : {"obs", "sparsegpt", "wanda", "magnitude"}
        "obs" is the method of this package; the others are baselines.
    dtype : {"float16", "int8", "int4"}
        For the kept weights of in_proj and out_proj; the other weights follow from it.
    dtypes : dict
        Exceptions from what ``dtype`` gives, by the same keys as ``removed``; "head" is the
        embeddings (and the head).
    scale_group : {32, 64, 128}, optional
        Dense columns that share a scale (int8, int4). Without it, see `default_scale_group`.
    samples : int
        Calibration windows.
    sample_tokens : int
        Tokens per window, the leading separator token included.
    seed : int
        Draws the windows. The same seed gives the same bytes on the same machine with the same
        number of threads.
    dampening_frac : float
        Added to the diagonal of the statistics, as a fraction of its mean.
    without : tuple of str
        Parts of method "obs" to leave out, to see what they bring: "permute" (channels reordered),
        "corrected_target" (fitted to the dense model's activations), "rms" (tokens weighted by the
        size of the residual stream), "joint" (all masks of a group compared exactly, in the first
        sweep), "refit" (least squares on the final mask), "reselect" (masks chosen again after it),
        "error_feedback" (rounding errors made up for by the weights not yet rounded).

    Raises
    ------
    RecipeError
        On construction, with one line that names the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    removed: int | dict[str, int] = 2
    method: Method = "obs"
    dtype: WeightDType = "float16"
    dtypes: dict[str, WeightDType] = Field(default={})
    scale_group: Literal[32, 64, 128] | None = None
    samples: int = Field(default=128, ge=1, le=1 << 20)
    sample_tokens: int = Field(default=256, ge=8, le=1 << 16)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    dampening_frac: float = Field(default=0.01, gt=0, le=1)
    without: tuple[Ablation, ...] = Field(default=(), strict=False)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1]) or "recipe"
            raise RecipeError(f"{name}={first['input']!r}: {first['msg']}") from None

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, fields: dict[str, Any]) -> dict[str, Any]:
        fields = {_OLD_FIELDS.get(name, name): value for name, value in fields.items()}
        without = fields.get("without")
        if isinstance(without, (list, tuple)):
            fields["without"] = tuple(_OLD_ABLATIONS.get(name, name) for name in without)
        return fields

    @field_validator("removed")
    @classmethod
    def _check_removed(cls, value: int | dict[str, int]) -> int | dict[str, int]:
        if isinstance(value, dict):
            for key in value:
                if not _KEY.fullmatch(key):
                    raise RecipeError(
                        f"removed: {key!r} names no projection; "
                        f"use {', '.join(PROJECTIONS)} or layers.3.out_proj"
                    )
        for key, removed in value.items() if isinstance(value, dict) else [("", value)]:
            if not 0 <= removed < GROUP:
                where = f"removed[{key!r}]" if key else "removed"
                raise RecipeError(f"{where}={removed}: 0, 1, 2 or 3 of every 4 can be removed")
        return value

    @field_validator("dtypes")
    @classmethod
    def _check_dtypes(cls, value: dict[str, WeightDType]) -> dict[str, WeightDType]:
        for key in value:
            if key != "head" and not _KEY.fullmatch(key):
                raise RecipeError(
                    f"dtypes: {key!r} names no projection; "
                    f"use {', '.join(PROJECTIONS)}, head or layers.3.out_proj"
                )
        return value

    def dtype_of(self, layer: int, projection: str) -> DType:
        """Return the dtype of one projection of one layer."""
        general = self.dtypes.get(projection, _DTYPES[self.dtype][projection])
        return self.dtypes.get(f"layers.{layer}.{projection}", general)

    def removed_of(self, layer: int, projection: str) -> int:
        """Return n of one projection of one layer."""
        if isinstance(self.removed, int):
            return self.removed if projection in PRUNED_BY_DEFAULT else 0
        in_general = self.removed.get(projection, 0)
        return self.removed.get(f"layers.{layer}.{projection}", in_general)

    def group_of(self, removed: int) -> int:
        """Return the dense columns that share a scale where n is `removed`."""
        return self.scale_group or default_scale_group(removed)

    def plan(self, config: MambaConfig) -> dict[str, Choice]:
        """Say how each weight matrix of a model will be stored.

        Returns
        -------
        dict of tensor name to Choice
            All projections, the embeddings and, where there is one, the untied head. Tensors that
            are not named stay as they are.

        Raises
        ------
        RecipeError
            A layer that the model has not, or groups of 4 that do not fill a weight's columns.
        """
        named = list(self.removed) if isinstance(self.removed, dict) else []
        for field, keys in {"removed": named, "dtypes": list(self.dtypes)}.items():
            for key in keys:
                match = _KEY.fullmatch(key)
                if match and match[2] and int(match[2]) >= config.n_layer:
                    raise RecipeError(f"{field}: {key!r}: the model has {config.n_layer} layers")
        head: DType = self.dtypes.get("head", _DTYPES[self.dtype]["head"])
        plan = {EMBEDDINGS: Choice(0, head)}
        for layer in range(config.n_layer):
            shapes = config.layer_shapes(layer)
            for projection in PROJECTIONS:
                name = config.projection(layer, projection)
                removed = self.removed_of(layer, projection)
                cols = shapes[name][1]
                if removed and cols % GROUP:
                    raise RecipeError(
                        f"{name} has {cols} columns, not a multiple of {GROUP}; "
                        f"set removed of {projection} to 0"
                    )
                plan[name] = Choice(removed, self.dtype_of(layer, projection))
        if not config.tie_embeddings:
            plan[HEAD] = Choice(0, head)
        return plan
