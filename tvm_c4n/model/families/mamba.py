"""``mamba``: Mamba-1 as Hugging Face has it (``state-spaces/mamba-130m-hf``)."""

from __future__ import annotations

from math import ceil

from tvm_c4n.model.blocks import Mamba1
from tvm_c4n.model.description import Layer, ModelConfig, Norm, Residual
from tvm_c4n.model.families.reader import MAX_LAYERS, MAX_VOCABULARY, Fields

MODEL_TYPE = "mamba"
ARCHITECTURE = "MambaForCausalLM"


def read(
    fields: Fields, *, model_type: str = MODEL_TYPE, inner_eps: float | None = None
) -> ModelConfig:
    """Describe the model of a config.json; families that extend this one give the rest."""
    fields.only("hidden_act", ("silu",), "silu")
    fields.require("vocab_size", "hidden_size", "num_hidden_layers", "state_size", "conv_kernel")
    hidden, expand = fields.number("hidden_size"), fields.number("expand", 2)
    auto = fields.get("time_step_rank") in (None, "auto")
    return mamba_config(
        vocab_size=fields.size("vocab_size", most=MAX_VOCABULARY),
        d_model=fields.size("hidden_size", most=1 << 16),
        d_inner=fields.size("intermediate_size", int(expand * hidden)),
        n_layer=fields.size("num_hidden_layers", most=MAX_LAYERS),
        d_state=fields.size("state_size", most=1024),
        d_conv=fields.size("conv_kernel", most=64),
        dt_rank=ceil(hidden / 16) if auto else fields.size("time_step_rank", most=1 << 16),
        eps=fields.eps("layer_norm_epsilon", default=1e-5),
        conv_bias=fields.flag("use_conv_bias", True),
        bias=fields.flag("use_bias", False),
        tie_embeddings=fields.flag("tie_word_embeddings", True),
        inner_eps=inner_eps,
        model_type=model_type,
    )


def mamba_config(
    *,
    vocab_size: int,
    d_model: int,
    d_inner: int,
    n_layer: int,
    d_state: int,
    d_conv: int,
    dt_rank: int,
    eps: float = 1e-5,
    conv_bias: bool = True,
    bias: bool = False,
    tie_embeddings: bool = True,
    inner_eps: float | None = None,
    model_type: str = MODEL_TYPE,
) -> ModelConfig:
    """Describe a model of Mamba-1's tensor names by its sizes.

    Parameters
    ----------
    vocab_size, d_model, n_layer : int
    d_inner, d_state, d_conv, dt_rank : int
        See `Mamba1`.
    eps : float
        Added to the mean square in the norms of the residual stream.
    conv_bias, bias, inner_eps
        See `Mamba1`.
    tie_embeddings : bool
        Whether the head is the embedding matrix.
    model_type : str
    """

    def layer(index: int) -> Layer:
        prefix = f"backbone.layers.{index}."
        mixer = Mamba1(
            prefix=prefix + "mixer.",
            d_model=d_model,
            d_inner=d_inner,
            d_state=d_state,
            d_conv=d_conv,
            dt_rank=dt_rank,
            conv_bias=conv_bias,
            bias=bias,
            inner_eps=inner_eps,
        )
        return Layer((Residual(Norm(prefix + "norm.weight", eps), (mixer,)),))

    embeddings = "backbone.embeddings.weight"
    return ModelConfig(
        model_type=model_type,
        vocab_size=vocab_size,
        d_model=d_model,
        layers=tuple(layer(index) for index in range(n_layer)),
        embeddings=embeddings,
        final_norm=Norm("backbone.norm_f.weight", eps),
        head=embeddings if tie_embeddings else "lm_head.weight",
        sizes={"inner": d_inner, "state": d_state, "conv": d_conv, "dt_rank": dt_rank},
    )
