"""What to remove and how: the pruning recipe. Imports neither torch nor tvm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import Field, field_validator, model_validator

from tvm_c4n.checkpoint.recipe_file import RecipeFile
from tvm_c4n.errors import RecipeError, shown
from tvm_c4n.model.description import ModelConfig, Projection
from tvm_c4n.model.families.reader import MAX_EXPERTS
from tvm_c4n.model.tensor_spec import reads_stream
from tvm_c4n.ops.linear_spec import is_weight_only
from tvm_c4n.sparsity import (
    FIELD_BITS,
    GROUP,
    DType,
    Removed,
    default_scale_group,
    joined_removed,
    usual_removed,
)

Method = Literal["obs", "sparsegpt", "wanda", "magnitude"]
WeightDType = Literal["float16", "int8", "int4", "int3", "int2"]
Ablation = Literal[
    "permute", "corrected_target", "rms", "joint", "refit", "reselect", "error_feedback", "scales"
]
METHODS: tuple[str, ...] = get_args(Method)
ABLATIONS: tuple[str, ...] = get_args(Ablation)
# Names in recipes and reports of the first version, which are still read.
_OLD_FIELDS = {"damp": "dampening_frac"}
_OLD_ABLATIONS = {"imitate": "corrected_target", "feedback": "error_feedback"}

# A projection, or one of one layer.
_KEY = re.compile(r"(?:layers\.(\d+)\.)?([a-z][a-z0-9_]*)")
_HEAD = "head"


class Choice(NamedTuple):
    """How one weight is stored: n of every 4 removed, and the dtype of the kept ones.

    Of experts that differ, ``each`` has n of each, and ``removed`` is what most have.
    """

    removed: int
    dtype: DType
    each: tuple[int, ...] = ()

    @classmethod
    def of(cls, removed: Removed, dtype: DType) -> Choice:
        """Return the choice of one n, or of n of each expert."""
        each = removed if isinstance(removed, tuple) else ()
        return cls(usual_removed(removed), dtype, each)

    @property
    def pattern(self) -> Removed:
        """One n, or that of each expert."""
        return self.each or self.removed


def may_differ(choice: Choice, cols: int) -> bool:
    """Return whether there is a kernel for experts that differ like this.

    Dense int8 weights of few columns multiply float32 activations, others int8 ones.
    """
    return len({is_weight_only(cols, n, choice.dtype) for n in choice.each}) < 2


def needs_calibration(plan: Mapping[str, Choice]) -> bool:
    """Say whether weights must make up for a loss: some are removed, or have at most 4 bits.

    Rounding a whole model to int8 or float16 loses so little (docs/decisions/pruning-speed.md) that
    it is rounded to nearest.
    """
    return any(choice.removed or choice.dtype in FIELD_BITS for choice in plan.values())


class Recipe(RecipeFile):
    """A pruning request; `from_file` reads one, `to_yaml` writes it.

    Attributes
    ----------
    removed : int or dict
        n, how many of every 4 contiguous weights of a row go. An int applies to the projections
        that have most of the weights (of Mamba-1 in_proj and out_proj). A dict gives it per
        projection (``{"in_proj": 2, "x_proj": 1}``) and per layer (``{"layers.3.out_proj": 1}``,
        which wins); what it does not name stays dense. For a projection of experts n may be a list:
        that of each expert.
    method : {"obs", "sparsegpt", "wanda", "magnitude"}
        "obs" is the method of this package; the others are baselines.
    dtype : {"float16", "int8", "int4", "int3", "int2"}
        Of the kept weights. Few bits are left to what bears them: with "int4" and less the head,
        and dt_proj of Mamba-1, have int8; with "int3" and "int2" the projections that are not
        pruned (of Mamba-1 x_proj) have int4.
    dtypes : dict
        Exceptions from what ``dtype`` gives, by the same keys as ``removed``; "head" is the
        embeddings (and the head).
    scale_group : {32, 64, 128}, optional
        Dense columns that share a scale (integer dtypes). Without it, see `default_scale_group`.
    samples : int
        Calibration windows.
    sample_tokens : int
        Tokens per window, the leading separator token included.
    seed : int
        Draws the windows. The same seed gives the same bytes on the same machine with the same
        number of threads.
    dampening_frac : float
        Added to the diagonal of the statistics, as a fraction of its mean.
    rotate : bool, optional
        Whether the residual stream is turned first, into a basis in which groups of 4 lose less.
        Without it: where method "obs" removes weights that read the stream. It helps pruning and
        makes rounding alone worse.
    without : tuple of str
        Parts of method "obs" to leave out, to see what they bring: "permute" (channels reordered),
        "corrected_target" (fitted to the dense model's activations), "rms" (tokens weighted by the
        size of the residual stream), "joint" (all masks of a group compared exactly, in the first
        sweep), "refit" (least squares on the final mask), "reselect" (masks chosen again after it),
        "error_feedback" (rounding errors made up for by the weights not yet rounded), "scales" (of
        few bits: chosen by what an error costs, and fitted again to the codes).
    repair : int
        Windows of calibration text that each layer is trained on after it was pruned, towards the
        dense one's output, each once. The first are those of ``samples``. 0: none is trained.

    Raises
    ------
    RecipeError
        On construction, with one line that names the field.
    """

    IN_REPORT: ClassVar[str] = "recipe"
    # Reports from before there were rotations do not say that there was none.
    OLD_REPORTS: ClassVar[Mapping[str, Any]] = {"rotate": False}
    REMEDY: ClassVar[str] = "`tvm-c4n prune MODEL --show-recipe` prints a recipe"

    removed: int | dict[str, Removed] = 2
    method: Method = "obs"
    dtype: WeightDType = "float16"
    dtypes: dict[str, WeightDType] = Field(default={})
    scale_group: Literal[32, 64, 128] | None = None
    samples: int = Field(default=128, ge=1, le=1 << 20)
    sample_tokens: int = Field(default=256, ge=8, le=1 << 16)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    dampening_frac: float = Field(default=0.01, gt=0, le=1)
    rotate: bool | None = None
    without: tuple[Ablation, ...] = Field(default=(), strict=False)
    repair: int = Field(default=0, ge=0, le=1 << 20)

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, fields: dict[str, Any]) -> dict[str, Any]:
        fields = {_OLD_FIELDS.get(name, name): value for name, value in fields.items()}
        without = fields.get("without")
        if isinstance(without, (list, tuple)):
            fields["without"] = tuple(
                _OLD_ABLATIONS.get(name, name) if isinstance(name, str) else name
                for name in without
            )
        return fields

    @field_validator("removed", mode="before")
    @classmethod
    def _check_removed(cls, value: Any) -> Any:
        for key, removed in value.items() if isinstance(value, dict) else [("", value)]:
            several = isinstance(removed, list | tuple) and key and 0 < len(removed) <= MAX_EXPERTS
            for n in removed if several else [removed]:
                if type(n) is not int or not 0 <= n < GROUP:
                    where = f"removed[{shown(key)}]" if key else "removed"
                    said = f"{where}={shown(n)}"
                    raise RecipeError(f"{said}: 0, 1, 2 or 3 of every 4 can be removed")
        if not isinstance(value, dict):
            return value
        return {key: tuple(n) if isinstance(n, list) else n for key, n in value.items()}

    @model_validator(mode="after")
    def _check_repair(self) -> Self:
        if self.repair and self.method != "obs":
            raise RecipeError(f"repair is for method obs, not {self.method}; leave one of both out")
        return self

    def dtype_of(self, layer: int, projection: Projection) -> DType:
        """Return the dtype of one projection of one layer."""
        usual: DType = self.dtype
        if usual in FIELD_BITS and projection.at_least_int8:
            usual = "int8"
        elif usual in FIELD_BITS and not projection.pruned:
            usual = "int4"
        general = self.dtypes.get(projection.name, usual)
        return self.dtypes.get(f"layers.{layer}.{projection.name}", general)

    def head_dtype(self) -> DType:
        """Return the dtype of the embeddings and the head; 4 bits are too few for them."""
        return self.dtypes.get(_HEAD, "int8" if self.dtype in FIELD_BITS else self.dtype)

    def removed_of(self, layer: int, projection: Projection) -> Removed:
        """Return n of one projection of one layer.

        Raises
        ------
        RecipeError
            A list of n that is not one for each of its experts.
        """
        if isinstance(self.removed, int):
            return self.removed if projection.pruned else 0
        in_general = self.removed.get(projection.name, 0)
        found = self.removed.get(f"layers.{layer}.{projection.name}", in_general)
        if not isinstance(found, tuple):
            return found
        if len(found) != projection.experts:
            has = f"{projection.experts} experts" if projection.experts else "no experts"
            raise RecipeError(
                f"removed: {len(found)} n for {projection.name} of layer {layer}, which has {has}"
            )
        return joined_removed(found)

    def group_of(self, removed: int) -> int:
        """Return the dense columns that share a scale where n is `removed`.

        All experts of a projection have the same, that of the usual n: activations are rounded once
        for all.
        """
        return self.scale_group or default_scale_group(removed)

    def rotates(self, config: ModelConfig) -> bool:
        """Say whether a model is going to be rotated."""
        if self.rotate is not None or self.method != "obs" or config.head_map is not None:
            return bool(self.rotate)
        plan, tensors = self.plan(config), config.tensors()
        return any(
            max(choice.removed, *choice.each, 0) and reads_stream(tensors[name])
            for name, choice in plan.items()
        )

    def stored(self, config: ModelConfig) -> ModelConfig:
        """Describe what a model is stored as: a rotated one may have a head map."""
        return config.rotated() if self.rotates(config) else config

    def plan(self, config: ModelConfig) -> dict[str, Choice]:
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
        self._check_keys(config)
        plan = {name: Choice(0, self.head_dtype()) for name in config.unpruned()}
        shapes = config.tensor_shapes()
        for layer in range(config.n_layer):
            for projection in config.projections(layer).values():
                name, removed = projection.weight, self.removed_of(layer, projection)
                cols = shapes[name][1]
                if removed and cols % GROUP:
                    raise RecipeError(
                        f"{name} has {cols} columns, not a multiple of {GROUP}; "
                        f"set removed of {projection.name} to 0"
                    )
                plan[name] = Choice.of(removed, self.dtype_of(layer, projection))
                if not may_differ(plan[name], cols):
                    raise RecipeError(
                        f"{name}: with {cols} columns in int8, all experts are dense or none is"
                    )
        return plan

    def _check_keys(self, config: ModelConfig) -> None:
        """Refuse keys of `removed` and `dtypes` that name nothing in a model."""
        known = config.projection_names()
        named = list(self.removed) if isinstance(self.removed, dict) else []
        for field, keys in {"removed": named, "dtypes": list(self.dtypes)}.items():
            for key in keys:
                match = _KEY.fullmatch(key)
                if key == _HEAD and field == "dtypes":
                    continue
                if not match or match[2] not in known:
                    more = f", {_HEAD}" if field == "dtypes" else ""
                    raise RecipeError(
                        f"{field}: {key!r} names no projection; "
                        f"use {', '.join(known)}{more} or layers.3.{known[-1]}"
                    )
                if match[1] and int(match[1]) >= config.n_layer:
                    raise RecipeError(f"{field}: {key!r}: the model has {config.n_layer} layers")
                if match[1] and match[2] not in config.projections(int(match[1])):
                    has = ", ".join(config.projections(int(match[1])))
                    raise RecipeError(f"{field}: {key!r}: layer {match[1]} has {has}")
