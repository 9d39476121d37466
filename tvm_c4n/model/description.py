"""What a language model is made of, whatever its family.

One description serves all: the numpy reference, the torch layers that calibrate and heal, the Relax
model, the checks of files, and the pruner. A family (`tvm_c4n.model.families`) turns its
config.json into one; a kind of block (`tvm_c4n.model.blocks`) says what it holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from tvm_c4n.model.states import State, StateDTypes
from tvm_c4n.model.tensor_spec import HIDDEN, Segment, TensorSpec, tensor

# The tensor that a model's head map is, whatever its family.
HEAD_MAP = "head_map.weight"

# Of numpy or of torch.
Array = TypeVar("Array", bound=Any)


@dataclass(frozen=True)
class Projection:
    """A matrix product of a block, the unit of pruning.

    Attributes
    ----------
    name : str
        What recipes and reports call it: ``"out_proj"``. No two of a layer have the same.
    weight : str
        The tensor of its weight (rows, cols).
    bias : str, optional
        The tensor of its bias (rows,).
    bias_factor : float
        What the bias is multiplied by.
    pruned : bool
        Whether a recipe that gives one n for a model means it. The others are small or fragile:
        they stay dense unless a recipe names them.
    at_least_int8 : bool
        Whether 4 bits are too few for it.
    kept : bool
        Whether budgets leave it dense, too: a state keeps what its errors do.
    experts, chosen : int
        How many matrices of `rows / experts` rows lie below each other in the weight, and how many
        of them a token is multiplied with. 0: it is one matrix, for all tokens.
    """

    name: str
    weight: str
    bias: str | None = None
    bias_factor: float = field(default=1.0, kw_only=True)
    pruned: bool = True
    at_least_int8: bool = False
    kept: bool = False
    experts: int = 0
    chosen: int = 0

    @property
    def share(self) -> float:
        """Which part of the weight a token reads."""
        return self.chosen / self.experts if self.experts else 1.0


@dataclass(frozen=True)
class Reordering:
    """Channels of a block that may be in any order, to make groups of 4 lose less.

    Attributes
    ----------
    label : str
        Of the segments that are reordered together.
    projection : str
        The one whose columns they are: its groups gain.
    chunk : int
        Orders are free within each run of this many channels.
    """

    label: str
    projection: str
    chunk: int


@dataclass(frozen=True)
class Block(ABC):
    """A branch of a layer: reads the normed residual stream, adds to it.

    Attributes
    ----------
    prefix : str
        Start of its tensors' names.
    d_model : int
        Hidden channels.
    factors : mapping of str to float
        What the products of projections that read the normed stream are multiplied by; of those
        that are not named by 1.
    bias_factors : mapping of str to float
        What biases of projections are multiplied by.
    """

    kind: ClassVar[str]
    prefix: str
    d_model: int
    factors: Mapping[str, float] = field(default_factory=dict, hash=False, kw_only=True)
    bias_factors: Mapping[str, float] = field(default_factory=dict, hash=False, kw_only=True)

    @abstractmethod
    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""

    @abstractmethod
    def projections(self) -> tuple[Projection, ...]:
        """Its projections, in the order in which a token passes them; the last one adds to h."""

    def states(self) -> tuple[State, ...]:
        """Return what it carries from token to token."""
        return ()

    def reorderings(self) -> tuple[Reordering, ...]:
        """Which of its channels may be in any order."""
        return ()

    def with_context(self, context: int) -> Block:
        """Return the block for texts of so many tokens; most keep nothing that depends on it."""
        return self

    def with_state_dtypes(self, dtypes: StateDTypes) -> Block:
        """Return the block with states of these dtypes; some have float32 states only."""
        return self

    def factor(self, projection: str) -> float:
        """Return what the product of a projection is multiplied by."""
        return self.factors.get(projection, 1.0)

    def bias_factor(self, projection: str) -> float:
        """Return what the bias of a projection is multiplied by."""
        return self.bias_factors.get(projection, 1.0)

    @property
    def hidden(self) -> Segment:
        """The channels of the residual stream."""
        return Segment(HIDDEN, self.d_model)


@dataclass(frozen=True)
class Norm:
    """An RMSNorm over the hidden channels, or over those of heads.

    Attributes
    ----------
    weight : str
        The tensor of its weight.
    eps : float
        What is added to the mean square.
    offset : float
        What is added to the weight: some families store its distance from one.
    """

    weight: str
    eps: float
    offset: float = 0.0

    def factors(self, weight: Array) -> Array:
        """Return what the normed channels are multiplied by, of the weight as it is stored."""
        found: Array = weight + self.offset if self.offset else weight
        return found


@dataclass(frozen=True)
class Residual:
    """``h += sum of block(norm(h))`` over blocks that read the same norm."""

    norm: Norm
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Layer:
    """Residuals, one after the other."""

    residuals: tuple[Residual, ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        return (block for residual in self.residuals for block in residual.blocks)

    def projections(self) -> dict[str, Projection]:
        """All projections by name, in the order in which a token passes them."""
        return {p.name: p for block in self.blocks for p in block.projections()}

    def without_prefix(self, prefix: str) -> Layer:
        """Return the layer with the start of all its tensors' names cut off."""

        def cut(residual: Residual) -> Residual:
            norm = replace(residual.norm, weight=residual.norm.weight.removeprefix(prefix))
            blocks = (replace(b, prefix=b.prefix.removeprefix(prefix)) for b in residual.blocks)
            return Residual(norm, tuple(blocks))

        return Layer(tuple(map(cut, self.residuals)))


@dataclass(frozen=True)
class ModelConfig:
    """A language model: embeddings, layers, a norm and a head.

    Attributes
    ----------
    model_type : str
        The family's name in config.json.
    vocab_size, d_model : int
    layers : tuple of Layer
    embeddings : str
        The tensor (vocab_size, d_model).
    final_norm : Norm
    head : str
        The tensor (vocab_size, d_model); that of the embeddings where they are tied.
    sizes : mapping of str to int
        What else tells a model of this family from another, by the names of latency tables.
    embedding_scale, logits_scale : float
        Factors of the embeddings and of the logits.
    context : int, optional
        Tokens of the longest text; without attention there is no limit.
    positions : int, optional
        Tokens of the longest text that it was made for: what `context` may be set to.
    head_map : str, optional
        The tensor (d_model, d_model) of a matrix between the last norm and the head, which a
        rotated model with tied embeddings has (docs/decisions/rotation.md).
    """

    model_type: str
    vocab_size: int
    d_model: int
    layers: tuple[Layer, ...]
    embeddings: str
    final_norm: Norm
    head: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    embedding_scale: float = 1.0
    logits_scale: float = 1.0
    context: int | None = None
    positions: int | None = None
    head_map: str | None = None

    def with_context(self, context: int) -> ModelConfig:
        """Return the model for texts of so many tokens; see `tvm_c4n.model.state_choices`."""
        return replace(self._with_blocks(lambda b: b.with_context(context)), context=context)

    def with_state_dtypes(self, dtypes: StateDTypes) -> ModelConfig:
        """Return the model with states of these dtypes; see `tvm_c4n.model.state_choices`."""
        return self._with_blocks(lambda block: block.with_state_dtypes(dtypes))

    def _with_blocks(self, change: Callable[[Block], Block]) -> ModelConfig:
        def changed(residual: Residual) -> Residual:
            return replace(residual, blocks=tuple(map(change, residual.blocks)))

        layers = tuple(Layer(tuple(map(changed, layer.residuals))) for layer in self.layers)
        return replace(self, layers=layers)

    def rotated(self) -> ModelConfig:
        """Return the model in another basis of the residual stream: a tied head needs a map."""
        return replace(self, head_map=HEAD_MAP) if self.tie_embeddings else self

    @property
    def n_layer(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def tie_embeddings(self) -> bool:
        """Whether the head is the embedding matrix."""
        return self.head == self.embeddings

    def projections(self, layer: int) -> dict[str, Projection]:
        """All projections of a layer by name, in the order in which a token passes them."""
        return self.layers[layer].projections()

    def projection_names(self) -> list[str]:
        """Names of the projections of all layers, each once: ``["in_proj", "out_proj"]``."""
        return list(dict.fromkeys(name for layer in self.layers for name in layer.projections()))

    def projection(self, layer: int, name: str) -> str:
        """Return the tensor of the weight of a layer's projection."""
        return self.projections(layer)[name].weight

    def unpruned(self) -> list[str]:
        """Return the tensors of the embeddings and, where there are such, of head and head map."""
        found = (self.embeddings, self.head_map, self.head)
        return list(dict.fromkeys(name for name in found if name is not None))

    def weights(self) -> list[str]:
        """Return the tensors of all matrices: embeddings, head, projections."""
        rows = range(self.n_layer)
        return self.unpruned() + [p.weight for i in rows for p in self.projections(i).values()]

    def shares(self) -> dict[str, float]:
        """Return which part of each matrix a token reads: of the embeddings a row, next to none."""
        layers = (self.projections(index).values() for index in range(self.n_layer))
        found = {p.weight: p.share for layer in layers for p in layer}
        outside = dict.fromkeys(self.unpruned(), 1.0)
        return outside | {self.embeddings: 0.0, self.head: 1.0} | found

    def kinds(self) -> dict[str, str]:
        """Return what each matrix is: the projection's name, or the last part of its own."""
        found = {name: name.removesuffix(".weight").rsplit(".", 1)[-1] for name in self.unpruned()}
        layers = (self.projections(index).values() for index in range(self.n_layer))
        return found | {p.weight: p.name for layer in layers for p in layer}

    def layer_tensors(self, layer: int) -> dict[str, TensorSpec]:
        """Names and axes of the tensors of a layer."""
        found = {}
        for residual in self.layers[layer].residuals:
            found[residual.norm.weight] = tensor(Segment(HIDDEN, self.d_model))
            for block in residual.blocks:
                found |= {block.prefix + name: spec for name, spec in block.tensors().items()}
        return found

    def tensors(self) -> dict[str, TensorSpec]:
        """Names (Hugging Face's) and axes of all tensors of the model."""
        hidden = Segment(HIDDEN, self.d_model)
        found = {self.embeddings: tensor(self.vocab_size, hidden)}
        for layer in range(self.n_layer):
            found |= self.layer_tensors(layer)
        found[self.final_norm.weight] = tensor(hidden)
        if self.head_map is not None:
            found[self.head_map] = tensor(hidden, hidden)
        return found | {self.head: tensor(self.vocab_size, hidden)}

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names (Hugging Face's) and shapes of all tensors of the model."""
        return {name: spec.shape for name, spec in self.tensors().items()}

    def states(self) -> tuple[State, ...]:
        """Return what the model carries from token to token, stacked over its blocks."""
        counted: dict[State, int] = {}
        for layer in self.layers:
            for block in layer.blocks:
                for state in block.states():
                    counted[state] = counted.get(state, 0) + 1
        return tuple(
            s if s.shared else State(s.name, (n, *s.shape), s.dtype) for s, n in counted.items()
        )

    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of `states`."""
        return tuple(state.shape for state in self.states())
