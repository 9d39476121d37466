"""A small Mamba with bound kernels, and how its decode step is run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import schedules
from relay_passes import BindSchedules, RepackWeights
from tvm_c4n._tvm import IRModule, Target, relax, tvm
from tvm_c4n.checkpoint import ArrayCheckpoint
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.isa import PORTABLE
from tvm_c4n.pruning.recipe import Choice
from tvm_c4n.sparsity import from_dense, mask_from_scores

CHOOSE = partial(schedules.choose, isa=PORTABLE)


def bound(
    inner: int,
    dtype: str = "int8",
    *,
    hidden: int = 16,
    removed: Sequence[int] = (2, 2, 2),
    batch: int = 0,
    others: Sequence[Choice] = (),
) -> tuple[ModelConfig, IRModule]:
    """A small Mamba whose kernels are bound but not fused.

    `removed` is by layer. So are `others`, how x_proj and dt_proj are stored; else they are floats.
    """
    layers = len(removed)
    config = mamba_config(
        vocab_size=40,
        d_model=hidden,
        d_inner=inner,
        n_layer=layers,
        d_state=4,
        d_conv=4,
        dt_rank=4,
        tie_embeddings=True,
    )
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for name, shape in config.tensor_shapes().items():
        array = rng.standard_normal(shape).astype(np.float32) * 0.3
        tensors[name] = array
        choice = None
        if name.endswith(("in_proj.weight", "out_proj.weight")):
            choice = Choice(removed[int(name.split(".")[2])], dtype)  # type: ignore[arg-type]
        elif others and name.endswith(("x_proj.weight", "dt_proj.weight")):
            choice = others[int(name.split(".")[2])]
        if choice is not None:
            mask = mask_from_scores(np.abs(array), choice.removed)
            tensors[name] = from_dense(array, choice.removed, choice.dtype, mask=mask)
    module = build_model(config, ArrayCheckpoint({}, tensors), dtype="float32", batch=batch)
    passes = [RepackWeights(PORTABLE.lanes), BindSchedules(CHOOSE)]
    return config, tvm.transform.Sequential(passes)(module)


def machine(mod: IRModule) -> relax.VirtualMachine:
    """The module compiled for any machine like this."""
    return relax.VirtualMachine(relax.build(mod, Target({"kind": "llvm"})), tvm.cpu())


def steps(
    config: ModelConfig, vm: relax.VirtualMachine, tokens: list[int]
) -> tuple[Any, list[Any]]:
    """Logits of each token, and the states after the last."""
    states = [tvm.runtime.tensor(np.zeros(s, np.float32)) for s in config.state_shapes()]
    logits = []
    for token in tokens:
        out = vm["step"](tvm.runtime.tensor(np.array([token], np.int32)), *states)
        logits.append(out[0].numpy())
    return np.concatenate(logits), [s.numpy() for s in states]
