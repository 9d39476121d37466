"""Shape of a Mamba-1 model, read from a Hugging Face config.json and checked."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tvm_c4n.errors import CheckpointError, shown

# Tokens that the memory of prefill and score is planned for; longer prompts come in several calls.
MAX_TOKENS = 256

PROJECTIONS = ("in_proj", "x_proj", "dt_proj", "out_proj")
EMBEDDINGS = "backbone.embeddings.weight"
FINAL_NORM = "backbone.norm_f.weight"
HEAD = "lm_head.weight"

_MAX_NUMBER = 1 << 32
_HF_NAMES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layer": "num_hidden_layers",
    "d_state": "state_size",
    "d_conv": "conv_kernel",
}


class HasTensors(Protocol):
    """The part of a checkpoint that `MambaConfig.check` and `check_values` need."""

    def names(self) -> list[str]:
        """Names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""

    def dense(self, name: str) -> NDArray[np.float32]:
        """Read one tensor."""


class MambaConfig(BaseModel):
    """Sizes of a Mamba-1 language model.

    Attributes
    ----------
    vocab_size, d_model, d_inner, n_layer, d_state, d_conv, dt_rank : int
        Lengths of the axes v, h, d, (layers), n, k, r of `tvm_c4n.model`.
    eps : float
        Added to the mean square in every RMSNorm.
    conv_bias : bool
        Whether the convolution has a bias.
    tie_embeddings : bool
        Whether the language-model head is the embedding matrix.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The upper bounds keep a hostile config.json from asking for absurd allocations.
    vocab_size: int = Field(gt=0, le=1 << 22)
    d_model: int = Field(gt=0, le=1 << 16)
    d_inner: int = Field(gt=0, le=1 << 18)
    n_layer: int = Field(gt=0, le=1024)
    d_state: int = Field(gt=0, le=1024)
    d_conv: int = Field(gt=0, le=64)
    dt_rank: int = Field(gt=0, le=1 << 16)
    eps: float = Field(default=1e-5, gt=0, lt=1)
    conv_bias: bool = True
    tie_embeddings: bool = True

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> MambaConfig:
        """Read the content of a Hugging Face ``config.json``; unknown keys are ignored.

        Raises
        ------
        CheckpointError
            Not a Mamba-1 model, a feature that is not supported (another activation than SiLU,
            biases in in_proj and out_proj), a size that is missing or out of range.
        """
        _check_supported(config)
        fields: dict[str, Any] = {ours: config.get(theirs) for ours, theirs in _HF_NAMES.items()}
        missing = [_HF_NAMES[key] for key, value in fields.items() if value is None]
        if missing:
            raise CheckpointError(f"config.json lacks {', '.join(missing)}")
        hidden, expand = _number(config, "hidden_size"), _number(config, "expand", 2)
        rank = config.get("time_step_rank", "auto")
        fields["dt_rank"] = ceil(hidden / 16) if rank == "auto" else rank
        fields["d_inner"] = config.get("intermediate_size", int(expand * hidden))
        fields["eps"] = config.get("layer_norm_epsilon", 1e-5)
        fields["conv_bias"] = config.get("use_conv_bias", True)
        fields["tie_embeddings"] = config.get("tie_word_embeddings", True)
        try:
            return cls.model_validate(fields, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise CheckpointError(
                f"config.json: {_HF_NAMES.get(name, name)}={shown(first['input'])}: {first['msg']}"
            ) from None

    def prefix(self, layer: int) -> str:
        """Return the common start of the names of a layer's mixer tensors."""
        return f"backbone.layers.{layer}.mixer."

    def projection(self, layer: int, name: str) -> str:
        """Return the name of the weight of one of `PROJECTIONS` in a layer."""
        return f"{self.prefix(layer)}{name}.weight"

    def projection_names(self) -> list[str]:
        """Return the names of all projections, the embedding and the head among them."""
        names = [EMBEDDINGS] if self.tie_embeddings else [EMBEDDINGS, HEAD]
        layers = range(self.n_layer)
        return names + [self.projection(layer, name) for layer in layers for name in PROJECTIONS]

    def layer_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors of one layer."""
        mixer, rank = self.prefix(layer), self.dt_rank
        shapes: dict[str, tuple[int, ...]] = {
            f"backbone.layers.{layer}.norm.weight": (self.d_model,),
            mixer + "A_log": (self.d_inner, self.d_state),
            mixer + "D": (self.d_inner,),
            mixer + "conv1d.weight": (self.d_inner, 1, self.d_conv),
            mixer + "in_proj.weight": (2 * self.d_inner, self.d_model),
            mixer + "x_proj.weight": (rank + 2 * self.d_state, self.d_inner),
            mixer + "dt_proj.weight": (self.d_inner, rank),
            mixer + "dt_proj.bias": (self.d_inner,),
            mixer + "out_proj.weight": (self.d_model, self.d_inner),
        }
        if self.conv_bias:
            shapes[mixer + "conv1d.bias"] = (self.d_inner,)
        return shapes

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names (Hugging Face's) and shapes of all tensors of the model."""
        shapes: dict[str, tuple[int, ...]] = {EMBEDDINGS: (self.vocab_size, self.d_model)}
        for layer in range(self.n_layer):
            shapes.update(self.layer_shapes(layer))
        shapes[FINAL_NORM] = (self.d_model,)
        if not self.tie_embeddings:
            shapes[HEAD] = (self.vocab_size, self.d_model)
        return shapes

    def check(self, checkpoint: HasTensors) -> None:
        """Check that a checkpoint holds every tensor in the right shape; others are allowed.

        Raises
        ------
        CheckpointError
            Names the first tensor that is missing or has another shape.
        """
        names = set(checkpoint.names())
        for name, shape in self.tensor_shapes().items():
            if name not in names:
                raise CheckpointError(f"tensor {name} is missing{_hint(names)}")
            found = tuple(checkpoint.shape(name))
            if found != shape:
                raise CheckpointError(
                    f"tensor {name} has shape {list(found)}; config.json asks for {list(shape)}"
                )


def check_values(config: MambaConfig, checkpoint: HasTensors) -> None:
    """Read every tensor once and refuse values that no model can have.

    Raises
    ------
    CheckpointError
        Names the first tensor with a value that is NaN or infinite, and its place: the index into
        the tensor as the file has it. Or all embeddings are zero.
    """
    for name in config.tensor_shapes():
        values = checkpoint.dense(name)
        _check_finite(name, values)
        if name == EMBEDDINGS and not values.any():
            raise CheckpointError(f"tensor {name} is all zeros; the model was never trained")


def _check_finite(name: str, values: NDArray[np.float32]) -> None:
    good = np.isfinite(values)
    if good.all():
        return
    place = [int(i) for i in np.unravel_index(np.argmin(good), good.shape)]
    raise CheckpointError(
        f"tensor {name} has {values[tuple(place)]} at {place}; the model is damaged or its "
        "training diverged"
    )


def state_shapes(config: MambaConfig) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the shapes of the convolution's and the scan's state, both float32."""
    return (
        (config.n_layer, config.d_conv - 1, config.d_inner),
        (config.n_layer, config.d_state, config.d_inner),
    )


def _check_supported(config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind is None and "d_model" in config:
        raise CheckpointError(
            "config.json is in the format of state-spaces/mamba; "
            "use the converted model, whose name ends in -hf"
        )
    if kind != "mamba":
        raise CheckpointError(f"model_type is {shown(kind)}; only 'mamba' (Mamba-1) is supported")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise CheckpointError(f"hidden_act is {shown(activation)}; only 'silu' is supported")
    if config.get("use_bias", False):
        raise CheckpointError("use_bias is true; biases in in_proj and out_proj are not supported")


def _number(config: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a number of config.json that others are computed from."""
    value: Any = config.get(key, default)
    # The bound is above all limits of `MambaConfig`, whose messages name the size.
    if type(value) not in (int, float) or not 0 < value <= _MAX_NUMBER:
        raise CheckpointError(f"config.json: {key}={shown(value)}: is not a positive number")
    number: float = value
    return number


def _hint(names: Iterable[str]) -> str:
    """Say what the checkpoint seems to be, where the names tell."""
    if any(name.startswith("model.layers.") for name in names):
        return "; the names are those of another kind of model"
    if "backbone.embedding.weight" in names:
        return "; this is the format of state-spaces/mamba, use the -hf model"
    return ""
