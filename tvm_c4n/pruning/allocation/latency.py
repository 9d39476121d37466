"""The latency table of a device, as `docs/reference/format-latency.md` specifies it. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tvm_c4n.checkpoint.json_reading import read_record
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.recipe import Choice, WeightDType

FILE = "latency.json"
MAX_BYTES = 4 << 20
_AGAIN = "measure it again with `tvm-c4n tune --latency-table`"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Workload:
    """The tokens that a time is for: of a prompt, and generated ones."""

    prompt: int = 0
    generated: int = 1

    def __str__(self) -> str:
        """Name it as `bench` names its tests: ``pp512+tg128``."""
        named = (("pp", self.prompt), ("tg", self.generated))
        return "+".join(f"{test}{tokens}" for test, tokens in named if tokens)


TOKEN = Workload()


class Seconds(_Strict):
    """Least, median and largest of the samples."""

    min: float = Field(gt=0)
    median: float = Field(gt=0)
    max: float = Field(gt=0)


class LatencyEntry(_Strict):
    """The seconds of one dense layer at one n and dtype: of a generated token, and of a prompt's.

    A head has none of a prompt, of which it sees the last token alone.
    """

    rows: int = Field(ge=1)
    cols: int = Field(ge=1)
    removed: int = Field(ge=0, le=3)
    dtype: WeightDType
    threads: int = Field(ge=1)
    seconds: Seconds
    prompt_seconds: Seconds | None = None


class Rest(_Strict):
    """What a model spends outside its dense layers, by token: generated, and of a prompt."""

    # The file keeps the names of its first version (docs/reference/format-latency.md).
    # Sizes that tell a model of a family from another stand beside them, see `ModelConfig.sizes`.
    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, int] = Field(init=False)

    d_model: int = Field(alias="hidden")
    n_layer: int = Field(alias="layers")
    vocab_size: int = Field(alias="vocab")
    threads: int
    seconds: Seconds
    prompt_seconds: Seconds | None = None

    @staticmethod
    def sizes_of(config: ModelConfig) -> dict[str, int]:
        """Sizes of a model by the names in the file."""
        named = {"hidden": config.d_model, "layers": config.n_layer, "vocab": config.vocab_size}
        return {**named, **config.sizes}


class Check(_Strict):
    """A whole model, all of one n and dtype: what a token took, and what the table says of it."""

    removed: int = Field(ge=0, le=3)
    dtype: WeightDType
    threads: int = Field(ge=1)
    seconds: Seconds
    predicted: float = Field(gt=0)
    prompt_seconds: Seconds
    prompt_predicted: float = Field(gt=0)


class LatencyTable(_Strict):
    """Measured seconds of dense layers on one device.

    Attributes
    ----------
    entries : tuple of LatencyEntry
        ``rows`` in the file.
    rest : tuple of Rest
    checks : tuple of Check
        None in tables of earlier formats.
    cached : bool
        Weights stay in the cache from one step to the next: kernels of generated tokens cycled
        through about the bytes of a model of their n and dtype. Else they read from memory.
    others_cores : float, optional
        Cores that other programs took while it was measured, at most; None where it is not known.
    """

    format: Literal[1, 2, 3]
    target: dict[str, Any]
    emulated: bool
    # The file keeps the names of its first version.
    entries: tuple[LatencyEntry, ...] = Field(alias="rows")
    rest: tuple[Rest, ...]
    checks: tuple[Check, ...] = ()
    cached: bool = False
    others_cores: float | None = Field(default=None, ge=0)

    @classmethod
    def read(cls, path: Path) -> LatencyTable:
        """Read a table, or the one called ``latency.json`` in a folder.

        Raises
        ------
        RecipeError
            Missing, too large, or not such a table.
        """
        file = path / FILE if path.is_dir() else path
        return read_record(file, cls, MAX_BYTES, _AGAIN, RecipeError)

    @property
    def threads(self) -> int:
        """The number of threads that most entries were measured with."""
        counted = Counter(entry.threads for entry in self.entries)
        return max(counted, key=lambda threads: (counted[threads], threads), default=1)

    def check(self, workload: Workload) -> None:
        """Refuse a workload with a prompt if the table has no times of prompts.

        Raises
        ------
        RecipeError
        """
        if workload.prompt and all(rest.prompt_seconds is None for rest in self.rest):
            raise RecipeError(f"{workload}: the latency table has no times of prompts; {_AGAIN}")

    def seconds(
        self, rows: int, cols: int, choice: Choice, workload: Workload = TOKEN
    ) -> float | None:
        """Median seconds of a workload in a dense layer; None if one of its parts was not measured.

        A head is asked about generated tokens alone.
        """
        wanted = (rows, cols, choice.removed, choice.dtype, self.threads)
        for e in self.entries:
            if (e.rows, e.cols, e.removed, e.dtype, e.threads) == wanted:
                return _weighted(e, workload)
        return None

    def whole(
        self, config: ModelConfig, choices: Mapping[str, Choice], workload: Workload = TOKEN
    ) -> float:
        """Predict the seconds of a workload.

        Parameters
        ----------
        config : ModelConfig
        choices : mapping of tensor name to Choice
            How each weight of `config.weights()` is stored.
        workload : Workload

        Raises
        ------
        RecipeError
            A part of the model was not measured.
        """
        return self.outside(config, workload) + self.inside(config, choices, workload)

    def inside(
        self, config: ModelConfig, choices: Mapping[str, Choice], workload: Workload = TOKEN
    ) -> float:
        """Predict the seconds of a workload in a model's dense layers; arguments as of `whole`."""
        total, outside = 0.0, config.unpruned()
        for name, choice in choices.items():
            if name == config.embeddings and not config.tie_embeddings:
                continue
            rows, cols = config.tensor_shapes()[name]
            # Of a prompt, the head sees the last token alone: that belongs to the rest.
            asked = replace(workload, prompt=0) if name in outside else workload
            secs = self.seconds(rows, cols, choice, asked)
            if secs is None:
                raise RecipeError(f"the latency table has no entry for {name}, {rows} x {cols}")
            total += secs
        return total

    def outside(self, config: ModelConfig, workload: Workload = TOKEN) -> float:
        """Median seconds of a workload outside the dense layers.

        Raises
        ------
        RecipeError
            Not measured for this model.
        """
        wanted = Rest.sizes_of(config).items()
        for rest in self.rest:
            if wanted <= rest.model_dump(by_alias=True).items() and rest.threads == self.threads:
                secs = _weighted(rest, workload)
                if secs is not None:
                    return secs
        raise RecipeError(
            f"the latency table has no `rest` for this model (hidden {config.d_model}, layers "
            f"{config.n_layer}) with {self.threads} threads; {_AGAIN}"
        )


def _weighted(measured: LatencyEntry | Rest, workload: Workload) -> float | None:
    secs = workload.generated * measured.seconds.median
    if not workload.prompt:
        return secs
    if measured.prompt_seconds is None:
        return None
    return secs + workload.prompt * measured.prompt_seconds.median
