"""What a pruned model may cost, and what every weight may become to stay within it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Literal

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.allocation.experts import patterns
from tvm_c4n.pruning.allocation.latency import TOKEN, LatencyTable, Workload
from tvm_c4n.pruning.allocation.pareto import Items, Option
from tvm_c4n.pruning.recipe import Choice, Recipe, may_differ
from tvm_c4n.sparsity import GROUP, DType, Removed, kept_share
from tvm_c4n.sparsity.stats import size_bytes

if TYPE_CHECKING:
    from tvm_c4n.pruning.allocation.sensitivity import Sensitivity

Kind = Literal["sparsity", "size", "latency", "ppl_ratio"]
UNITS: dict[Kind, str] = {
    "sparsity": "weights kept",
    "size": "bytes",
    "latency": "seconds",
    "ppl_ratio": "bytes",
}
_LIMITS: dict[Kind, tuple[float, float]] = {
    "sparsity": (0.0, 0.75),
    "size": (0.0, 1e15),
    "latency": (0.0, 1e6),
    "ppl_ratio": (1.0, 1e6),
}


# Dtypes that a weight may have.
_DTYPES: tuple[DType, ...] = ("float16", "int8", "int4", "int3", "int2")


@dataclass(frozen=True)
class Budget:
    """The goal that a recipe is made for.

    Attributes
    ----------
    kind : str
        "sparsity": this fraction of the weights of all projections removed, or more, in the
        recipe's dtype. "size": at most this number of stored bytes, all tensors counted. "latency":
        at most this number of seconds for a workload by a measured table. "ppl_ratio": the smallest
        model whose perplexity on calibration text is at most this multiple of the dense model's.
    value : float
    table : LatencyTable, optional
        For "latency".
    workload : Workload
        For "latency": the tokens that it is the time of. Default: a generated one.

    Raises
    ------
    RecipeError
        A value that makes no sense, no table, or none with times of prompts.
    """

    kind: Kind
    value: float
    table: LatencyTable | None = None
    workload: Workload = TOKEN

    def __post_init__(self) -> None:
        low, high = _LIMITS[self.kind]
        if not low < self.value <= high:
            shown = self.kind.replace("_", "-")
            raise RecipeError(f"{shown} {self.value:g}: use a value in ({low:g}, {high:g}]")
        if self.kind == "latency" and self.table is None:
            raise RecipeError("latency needs the device's table: --latency-table DIR")
        if self.table is not None:
            self.table.check(self.workload)

    def decided(self, recipe: Recipe, config: ModelConfig) -> Recipe:
        """Return the recipe with the decision whether a model is rotated, if it leaves that open.

        A share of the weights is removed whatever is chosen. Other budgets may be met by rounding
        alone, which a rotation makes worse.
        """
        if recipe.rotate is not None:
            return recipe
        removes = self.kind == "sparsity" and recipe.method == "obs"
        return recipe.model_copy(update={"rotate": removes and config.head_map is None})

    def fixed_cost(self, config: ModelConfig, small_bytes: int) -> float:
        """Return the cost of what no choice changes, in `UNITS`.

        ``small_bytes`` are those of the tensors that are never packed.
        """
        if self.table is not None:
            return self.table.outside(config, self.workload)
        return 0.0 if self.kind == "sparsity" else float(small_bytes)

    def limit(self, config: ModelConfig) -> float:
        """Return the largest cost that meets the budget, in `UNITS`; not for "ppl_ratio"."""
        if self.kind != "sparsity":
            return self.value
        shapes, unpruned = config.tensor_shapes(), config.unpruned()
        sizes = (prod(shapes[name]) for name in config.weights() if name not in unpruned)
        return (1 - self.value) * sum(sizes)

    def choices(self, config: ModelConfig, recipe: Recipe) -> dict[str, list[Choice]]:
        """List what the embeddings (and the head) and each projection may become.

        All experts of a projection alike; `options` has others.
        """
        plan, shapes = recipe.plan(config), config.tensor_shapes()
        found = {
            config.embeddings: [Choice(0, dtype) for dtype in self._dtypes(plan, config.embeddings)]
        }
        for layer in config.layers:
            for projection in layer.projections().values():
                name = projection.weight
                dtypes = self._dtypes(plan, name)
                if projection.at_least_int8 and self.kind != "sparsity":
                    dtypes = dtypes[:2]
                dense_only = projection.kept or shapes[name][1] % GROUP
                numbers = range(1 if dense_only else GROUP)
                found[name] = [Choice(n, dtype) for dtype in dtypes for n in numbers]
        return found

    def _dtypes(self, plan: Mapping[str, Choice], name: str) -> tuple[DType, ...]:
        return (plan[name].dtype,) if self.kind == "sparsity" else _DTYPES

    def options(
        self, config: ModelConfig, recipe: Recipe, sensitivities: Mapping[str, Sensitivity]
    ) -> Items:
        """List what each weight may become, with its cost in `UNITS` and its loss in nats.

        The embeddings stand for the head as well, which has the same dtype.

        Raises
        ------
        RecipeError
            The latency table has no entry for a weight's shape.
        """
        found, shapes = {}, config.tensor_shapes()
        for name, alike in self.choices(config, recipe).items():
            rows, cols = shapes[name]
            sensitivity = sensitivities[name]
            mixed = [
                Choice.of(pattern, dtype)
                for dtype in dict.fromkeys(choice.dtype for choice in alike)
                for pattern in patterns(sensitivity.experts)
            ]
            choices = [*alike, *(choice for choice in mixed if may_differ(choice, cols))]
            priced = ((c, self._cost(name, c, config, recipe)) for c in choices)
            found[name] = [
                Option(choice, cost, sensitivity.loss(choice))
                for choice, cost in priced
                if cost is not None
            ]
            if not found[name]:
                raise RecipeError(
                    f"the latency table has no entry for {name}, {rows} x {cols}; measure this "
                    "model's shapes with `tvm-c4n tune --latency-table`"
                )
        return found

    def _cost(self, name: str, choice: Choice, config: ModelConfig, recipe: Recipe) -> float | None:
        shapes = config.tensor_shapes()
        rows, cols = shapes[name]
        if self.table is not None:
            # Of a prompt, the head sees the last token alone, which the table has in its rest.
            is_head = name == config.embeddings
            asked = replace(self.workload, prompt=0) if is_head else self.workload
            return self.table.seconds(rows, cols, choice, asked)
        if self.kind == "sparsity":
            return 0.0 if name == config.embeddings else rows * cols * kept_share(choice.pattern)
        group = recipe.group_of(choice.removed)
        # What is not pruned has one dtype, which is that of the embeddings.
        names = config.unpruned() if name == config.embeddings else [name]
        return float(
            sum(
                size_bytes(rows, cols, choice.pattern, choice.dtype, group)
                for rows, cols in (shapes[each] for each in names)
            )
        )


def recipe_of(config: ModelConfig, recipe: Recipe, choices: Mapping[str, Choice]) -> Recipe:
    """Return the recipe that stores every weight as chosen."""
    removed: dict[str, Removed] = {}
    dtypes: dict[str, str] = {"head": choices[config.embeddings].dtype}
    for layer in range(config.n_layer):
        for projection in config.projections(layer).values():
            choice = choices[projection.weight]
            removed[f"layers.{layer}.{projection.name}"] = choice.pattern
            dtypes[f"layers.{layer}.{projection.name}"] = choice.dtype
    return Recipe(**{**recipe.model_dump(), "removed": removed, "dtypes": dtypes})
