"""manifest.json of an artifact: its fields, and whether they agree with each other."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tvm_c4n.errors import ArtifactError, C4nError
from tvm_c4n.model.config import MAX_BATCH, MAX_TOKENS
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.families.reader import MAX_EXPERTS
from tvm_c4n.model.state_choices import choose_context, with_stored_dtypes

ALIGN = 64
FORMAT = 1
# A layer's scan state has as many numbers as its A, which takes 2 or 4 bytes where the state takes
# 4, and its convolution's state has fewer than its weights.
_STATE_BYTES_PER_WEIGHT_BYTE = 2
# The ring of attention has 4 bytes a token where its rows of keys and values have `d_model` weights
# of half a byte, n=3 an eighth, and a model has other matrices too.
_RING_TOKENS_PER_WEIGHT_BYTE = 128

# Strict: true and 3.0 are no sizes.
Size = Annotated[int, Field(strict=True, ge=0)]


N = Annotated[int, Field(strict=True, ge=0, le=3)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Record):
    """Where a packed tensor lies in weights.bin."""

    dtype: Literal["float32", "float16", "int8", "uint8", "uint16", "uint32"]
    shape: tuple[Size, ...]
    offset: int = Field(strict=True, ge=0, multiple_of=ALIGN)

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's elements."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def end(self) -> int:
        """Offset of the first byte after the tensor."""
        return self.offset + self.size_bytes


class Projection(_Record):
    """Pattern and format of one weight of the model; of experts that differ, n of each."""

    rows: Size
    cols: Size
    removed: N | Annotated[tuple[N, ...], Field(min_length=2, max_length=MAX_EXPERTS)]
    dtype: str
    scale_group: Size


class Text(_Record):
    """Tokens around a text; see `tvm_c4n.model.tokenizer.TextTokenizer`."""

    start: Size
    ends: tuple[Size, ...] = Field(min_length=1)


class Manifest(_Record):
    """The content of manifest.json.

    Attributes
    ----------
    target : str
        The name that the user gave, for example ``"host"``.
    triple, isa : str
        What the library was compiled for.
    features : list of str
        CPU features that the kernels use, under LLVM's names.
    config : dict
        The model's config.json.
    projections : dict
        By tensor name: the packed weights of the model.
    schedules : dict
        By operator: the rule that wrote the kernel, with the decisions of tuning in brackets, or
        ``"definition"`` where none did. ``layers.03_linear`` is the fourth operator of the
        layers (those of each pattern in turn), ``region.01_linear`` the second one of the head.
    tensors : list of Tensor
        In the order of the functions' parameters.
    states : list of tuple of int
        Shapes of the states: they stand between tokens and weights, and start as zeros.
    state_dtypes : list of str
        Of each state; none in artifacts whose states are all float32.
    state_names : list of str
        Of each state; none in artifacts of before this was kept.
    fingerprint : str or None
        Tells states of this model from those of others: `tvm_c4n.runtime.state.fingerprint_of`,
        for `c4n_run`; None in artifacts of before this was kept.
    context : int or None
        Tokens of the longest text; None without attention, which has no limit.
    text : Text or None
        What starts and ends a text; None in artifacts of before this was kept.
    chunk : int
        Tokens that one call of `prefill` or `score` takes at most.
    batch : int
        Sequences that one call of `batch_step` takes at most; 0: there is no such function.
    library_sha256, weights_sha256 : str
    """

    format: Literal[1] = 1
    target: str
    triple: str
    isa: str
    features: list[str]
    tvm: str
    config: dict[str, Any]
    projections: dict[str, Projection]
    schedules: dict[str, str]
    tensors: list[Tensor]
    states: list[tuple[Size, ...]]
    state_dtypes: list[str] = []
    state_names: list[str] = []
    fingerprint: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    context: Size | None = None
    text: Text | None = None
    chunk: int = Field(strict=True, ge=1, le=MAX_TOKENS)
    batch: int = Field(default=0, strict=True, ge=0, le=MAX_BATCH)
    weight_bytes: Size
    library_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def library(self) -> str:
        """File name of the library."""
        return library_name(self.library_sha256)

    @property
    def file_bytes(self) -> int:
        """Size that weights.bin must have."""
        return self.tensors[-1].end if self.tensors else 0

    def description(self) -> ModelConfig:
        """Describe the model, with the context and the states that it was compiled for.

        Raises
        ------
        ArtifactError
            A context that the model cannot have.
        CheckpointError
            The config is not that of a supported model.
        """
        config = with_stored_dtypes(describe_model(self.config), self.state_dtypes)
        if self.context == config.context:
            return config
        if self.context is None or config.context is None:
            raise ArtifactError(f"context is {self.context}; config asks for {config.context}")
        try:
            return choose_context(config, self.context)
        except C4nError as error:
            raise ArtifactError(str(error)) from None

    def check(self) -> None:
        """Compare sizes with those that follow from others, before anybody allocates by them.

        Raises
        ------
        ArtifactError
            Names the field that does not agree.
        CheckpointError
            The config is not that of a supported model.
        """
        config = self.description()
        self._check_projections(config)
        self._check_tensors()
        if self.states != list(config.state_shapes()):
            expected = [list(shape) for shape in config.state_shapes()]
            raise ArtifactError(
                f"states are {[list(shape) for shape in self.states]}; config asks for {expected}"
            )
        expected_dtypes = [state.dtype for state in config.states()]
        if (self.state_dtypes or ["float32"] * len(self.states)) != expected_dtypes:
            raise ArtifactError(
                f"state_dtypes are {self.state_dtypes}; config asks for {expected_dtypes}"
            )
        names = [state.name for state in config.states()]
        if (self.state_names or names) != names:
            raise ArtifactError(f"state_names are {self.state_names}; config asks for {names}")
        state_bytes = sum(4 * prod(shape) for shape in self.states)
        allowed = _STATE_BYTES_PER_WEIGHT_BYTE + (self.context or 0) / _RING_TOKENS_PER_WEIGHT_BYTE
        if state_bytes > allowed * self.file_bytes:
            raise ArtifactError(
                f"states of {state_bytes} bytes do not belong to {self.file_bytes} bytes of weights"
            )

    def _check_projections(self, config: ModelConfig) -> None:
        names, shapes = config.weights(), config.tensor_shapes()
        for name in names:
            if name not in self.projections:
                raise ArtifactError(f"projections: {name} is missing")
            found = self.projections[name]
            if (found.rows, found.cols) != shapes[name]:
                raise ArtifactError(
                    f"projections: {name} has shape {[found.rows, found.cols]}; "
                    f"config asks for {list(shapes[name])}"
                )
        for name in self.projections:
            if name not in names:
                raise ArtifactError(f"projections: {name} is not in the model of config")

    def _check_tensors(self) -> None:
        """Tensors fill weights.bin from its start, each at the next multiple of `ALIGN`."""
        end = 0
        for index, tensor in enumerate(self.tensors):
            expected = end + -end % ALIGN
            if tensor.offset != expected:
                raise ArtifactError(
                    f"tensors: tensor {index} lies at byte {tensor.offset} and should at {expected}"
                )
            end = tensor.end
        total = sum(tensor.size_bytes for tensor in self.tensors)
        if total != self.weight_bytes:
            raise ArtifactError(f"weight_bytes is {self.weight_bytes}; the tensors have {total}")


def library_name(digest: str) -> str:
    """Return the file name of the library with a sha256."""
    return f"model-{digest[:12]}.so"
