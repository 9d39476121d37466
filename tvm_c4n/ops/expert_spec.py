"""What the operators of a mixture of experts are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from tvm_c4n.ops.linear_spec import LinearSpec
from tvm_c4n.ops.op_spec import OpSpec


@dataclass(frozen=True)
class ExpertWeightsSpec(OpSpec):
    """Base of products with the matrices of several experts.

    Attributes
    ----------
    rows, cols : int
        Shape of the dense matrix of one expert.
    removed, dtype, scale_group, lanes
        As of `LinearSpec`; where experts differ, `removed` is the largest.
    experts : int
        How many there are.
    counts : tuple of int
        How many have n = 0, 1, 2, 3, if they differ.
    """

    later: ClassVar[tuple[str, ...]] = ("batched", "counts")

    rows: int
    cols: int
    removed: int
    dtype: str
    scale_group: int
    lanes: int
    experts: int
    counts: tuple[int, ...] = field(default=(), kw_only=True)

    def by_removed(self) -> list[tuple[int, int]]:
        """Return each n that experts have, ascending, and how many have it."""
        if not self.counts:
            return [(self.removed, self.experts)]
        return [(n, count) for n, count in enumerate(self.counts) if count]

    def of(self, removed: int) -> LinearSpec:
        """Return the operator of one expert of this n and one token."""
        return replace(self.one, removed=removed)

    @property
    def one(self) -> LinearSpec:
        """The operator of one expert and one token; what is mixed is added to what is there."""
        return LinearSpec(
            False,
            self.rows,
            self.cols,
            self.removed,
            self.dtype,
            self.scale_group,
            self.lanes,
            self.cols,
            residual=self.residual,
        )

    @property
    def integer(self) -> bool:
        """Whether activations arrive as int8 with scales."""
        return self.one.integer

    @property
    def residual(self) -> bool:
        """Whether the result is added to the residual stream."""
        return False


@dataclass(frozen=True)
class ExpertLinearSpec(ExpertWeightsSpec):
    """A token is multiplied with the matrices of the experts that it chose.

    ``out[j] = weight[chosen[j]] @ x`` for each of a token's experts, next to each other; or, if
    they are `mixed`, ``out = residual + sum_j share[j] * weight[chosen[j]] @ x[j]``.

    Attributes
    ----------
    chosen : int
        How many experts a token has.
    mixed : bool
        See above.
    """

    kind: ClassVar[str] = "expert_linear"
    chosen: int
    mixed: bool = False

    @property
    def residual(self) -> bool:
        """Whether the result is added to the residual stream."""
        return self.mixed


@dataclass(frozen=True)
class GroupedLinearSpec(ExpertWeightsSpec):
    """Rows are ordered by expert, and each is multiplied with its own expert's matrix."""

    kind: ClassVar[str] = "grouped_linear"


@dataclass(frozen=True)
class GroupSpec(OpSpec):
    """The places of a call's pairs of token and expert in the order of experts."""

    kind: ClassVar[str] = "expert_groups"
    experts: int
    chosen: int


@dataclass(frozen=True)
class SpreadSpec(OpSpec):
    """Each token's row of `cols` elements, at the places of its pairs."""

    kind: ClassVar[str] = "expert_spread"
    cols: int
    chosen: int
    dtype: str


@dataclass(frozen=True)
class MixSpec(OpSpec):
    """The residual stream, and to each token's row the sum of its pairs' rows by their shares."""

    kind: ClassVar[str] = "expert_mix"
    cols: int
    chosen: int


@dataclass(frozen=True)
class RouteSpec(OpSpec):
    """The experts with the highest logits, and the softmax over these: a token's shares."""

    kind: ClassVar[str] = "route"
    experts: int
    chosen: int
