"""What descriptions of families of attention and something else have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm_c4n.model.blocks import Attention, Mamba2
from tvm_c4n.model.description import Layer, ModelConfig, Norm
from tvm_c4n.model.families.hybrid import context_of, positions_of
from tvm_c4n.model.families.reader import MAX_VOCABULARY, Fields


def mamba2_sizes(mixer: Mamba2) -> dict[str, int]:
    """Return the sizes of a mixer by the names of latency tables."""
    return {
        "heads": mixer.heads,
        "head_dim": mixer.head_dim,
        "groups": mixer.groups,
        "state": mixer.d_state,
        "conv": mixer.d_conv,
    }


def hybrid_model(
    fields: Fields,
    model_type: str,
    kinds: Sequence[str],
    layer: Callable[[int, str], Layer],
    attending: Attention,
    *,
    final_norm: Norm,
    sizes: Mapping[str, int],
    embeddings: str = "model.embed_tokens.weight",
    tied: bool | None = None,
    embedding_scale: float = 1.0,
    logits_scale: float = 1.0,
) -> ModelConfig:
    """Describe a model of which some layers attend.

    Parameters
    ----------
    fields : Fields
    model_type : str
    kinds : list of str
        Of block, for each layer; ``"attention"`` is one.
    layer : callable
        ``layer(index, kind)`` describes one.
    attending : Attention
        A block of attention, of any prefix.
    final_norm : Norm
    sizes : mapping of str to int
        See `ModelConfig`; those of attention are added.
    embeddings : str
        Their tensor.
    tied : bool, optional
        Whether the head is that tensor; if not given, the file says it.
    embedding_scale, logits_scale : float
        See `ModelConfig`.
    """
    attends = "attention" in kinds
    tied = fields.flag("tie_word_embeddings", False) if tied is None else tied
    return ModelConfig(
        model_type=model_type,
        vocab_size=fields.size("vocab_size", most=MAX_VOCABULARY),
        d_model=attending.d_model,
        layers=tuple(layer(index, kind) for index, kind in enumerate(kinds)),
        embeddings=embeddings,
        final_norm=final_norm,
        head=embeddings if tied else "lm_head.weight",
        sizes={
            **sizes,
            "attention_layers": kinds.count("attention"),
            "attention_heads": attending.heads,
            "kv_heads": attending.kv_heads,
        },
        context=context_of(fields) if attends else None,
        positions=positions_of(fields) if attends else None,
        embedding_scale=embedding_scale,
        logits_scale=logits_scale,
    )
