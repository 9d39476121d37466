"""A plan: for each n and dtype what the pruned model would need, and its predicted speed here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import get_args

from tvm_c4n.checkpoint.base import CONFIG, check_folder, read_config
from tvm_c4n.checkpoint.hub import locate_config
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.state_choices import choose_context, choose_state_dtypes
from tvm_c4n.plan.kernels import Kernels
from tvm_c4n.plan.sizes import Sizes, sizes_of, state_sizes
from tvm_c4n.progress import Progress
from tvm_c4n.pruning.recipe import Choice, Recipe, WeightDType
from tvm_c4n.runtime.bandwidth import read_bandwidth
from tvm_c4n.runtime.contention import CpuContention, check_threads
from tvm_c4n.runtime.thread_pool import default_threads
from tvm_c4n.sparsity import GROUP, INT_BITS

# Python, TVM's runtime and the buffers of a prompt: 75 to 95 MB for models of 10 to 260 MB.
PROCESS_BYTES = 80_000_000
_BANDWIDTH_SECS = 0.5


@dataclass(frozen=True)
class Option:
    """A way to prune a model.

    Attributes
    ----------
    removed : int
    dtype : str
    disk_bytes : int
        All tensors of the C4n folder.
    memory_bytes : int
        Of a process that runs it: repacked weights, states, keys and values, and the program.
    token_bytes : int
        What a generated token moves: weights read, states read and written.
    limit : float
        Memory limit, tokens/s; a model that caches hold may exceed it.
    tokens_per_sec : float
        Predicted, at the beginning of a text.
    """

    removed: int
    dtype: WeightDType
    disk_bytes: int
    memory_bytes: int
    token_bytes: int
    limit: float
    tokens_per_sec: float


@dataclass(frozen=True)
class Plan:
    """What `plan_model` found.

    Attributes
    ----------
    model, family : str
    parameters, layers, hidden, vocabulary : int
    context : int or None
        Tokens of the longest text; None: there is no limit.
    state_bytes : int
        Of a text, whatever its length.
    kv_bytes : int
        Keys and values of `context` tokens.
    threads : int
    bandwidth : float
        Bytes/s that memory gives these threads.
    options : tuple of Option
        By n, then by dtype.
    others_cores : float
        Cores that other programs took meanwhile.
    """

    model: str
    family: str
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    context: int | None
    state_bytes: int
    kv_bytes: int
    threads: int
    bandwidth: float
    options: tuple[Option, ...]
    others_cores: float


def plan_model(
    model: str | Path,
    *,
    context: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Say what a model will need and how fast it will run on this machine, from its config alone.

    Parameters
    ----------
    model : str or Path
        Name of an embedded model, a folder with a config.json, that file, or ``org/name`` of a hub.
    context : int, optional
        Tokens of the longest text, for models with attention; see `compile_model`.
    threads : int, optional
        Default: one for each core.
    progress : callable, optional
        Called as ``progress(what, done, total)``: kernels are built and timed for some seconds.

    Raises
    ------
    C4nError
        No config, an unsupported one, a context that the model cannot have, too many threads.
    """
    count = default_threads() if threads is None else threads
    check_threads(count)
    path = Path(model)
    if path.name == CONFIG and path.is_file():
        path = folder = path.parent
    else:
        folder = locate_config(model)
    check_folder(folder)
    config = describe_model(read_config(folder))
    if context is not None:
        config = choose_context(config, context)
    config = choose_state_dtypes(config, None, None)
    if progress is not None:
        progress("timing kernels", 0, 0)
    with CpuContention() as others:
        predictor = Predictor(config, count)
        options = tuple(_options(predictor, progress))
    return Plan(
        model=path.resolve().name,
        family=config.model_type,
        parameters=sum(prod(shape) for shape in config.tensor_shapes().values()),
        layers=config.n_layer,
        hidden=config.d_model,
        vocabulary=config.vocab_size,
        context=config.context,
        state_bytes=predictor.state_bytes,
        kv_bytes=predictor.kv_bytes,
        threads=count,
        bandwidth=predictor.bandwidth,
        options=options,
        others_cores=others.cores,
    )


class Predictor:
    """Predicts decode steps of models of one config on this machine.

    Parameters
    ----------
    config : ModelConfig
    threads : int

    Attributes
    ----------
    state_bytes, kv_bytes : int
        Of what is carried from token to token.
    bandwidth : float
        Bytes/s that memory gives.
    """

    def __init__(self, config: ModelConfig, threads: int) -> None:
        self.config = config
        self.state_bytes, self.kv_bytes = state_sizes(config)
        self.bandwidth = read_bandwidth(_BANDWIDTH_SECS, threads=threads)
        self._kernels = Kernels(config, threads)
        self._rates: dict[Choice, float] = {}
        self._others = self._kernels.other_secs()

    def sizes(self, recipe: Recipe) -> Sizes:
        """Return the bytes of the model that a recipe makes; raises as `sizes_of`."""
        return sizes_of(self.config, recipe, self._kernels.lanes)

    def moved(self, sizes: Sizes) -> int:
        """Return the bytes that a token moves."""
        return sizes.token_bytes + 2 * self.state_bytes

    def secs(self, recipe: Recipe) -> float:
        """Predict the seconds of a step at the beginning of a text.

        Kernels are timed for the dtype and n of most weights first, then for the others, each once:
        a second recipe finds them timed.
        """
        sizes = self.sizes(recipe)
        read = sorted(sizes.read_bytes.items(), key=lambda item: -item[1])
        for choice, _ in read:
            if choice not in self._rates:
                rate = self._kernels.read_rate(choice, recipe, self.moved(sizes))
                self._rates[choice] = rate
        fastest = max(self.bandwidth, self._rates[read[0][0]])
        secs = sum(size / self._rates[choice] for choice, size in read)
        secs += (sizes.small_bytes + 2 * self.state_bytes) / fastest
        integer = any(choice.dtype in INT_BITS for choice, _ in read)
        return secs + self._others[0] + integer * self._others[1]


def _options(predictor: Predictor, progress: Progress | None) -> Iterator[Option]:
    dtypes = get_args(WeightDType)
    tell, steps = progress or (lambda *_: None), GROUP * len(dtypes)
    # Dense ones first: what others leave dense is timed then.
    for done, (removed, dtype) in enumerate(product(range(GROUP), dtypes)):
        tell(f"timing {dtype} n={removed}", done, steps)
        recipe = Recipe(removed=removed, dtype=dtype)
        sizes = predictor.sizes(recipe)
        kept_bytes = predictor.state_bytes + predictor.kv_bytes
        yield Option(
            removed=removed,
            dtype=dtype,
            disk_bytes=sizes.disk_bytes,
            memory_bytes=sizes.weight_bytes + kept_bytes + PROCESS_BYTES,
            token_bytes=predictor.moved(sizes),
            limit=predictor.bandwidth / predictor.moved(sizes),
            tokens_per_sec=1 / predictor.secs(recipe),
        )
    tell("timed", steps, steps)
