"""What the handlers work with: the models by name, the scheduler, limits and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tvm_c4n.errors import C4nError, shown
from tvm_c4n.model.chat_template import ChatTemplate, read_chat_template
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.batch import Batch
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.prefix_cache import PrefixCache
from tvm_c4n.server.admission import Admission
from tvm_c4n.server.api_error import ApiError
from tvm_c4n.server.chat_texts import ChatTexts
from tvm_c4n.server.known_texts import KnownTexts
from tvm_c4n.server.lane import Lane
from tvm_c4n.server.limits import Limits
from tvm_c4n.server.metrics import Metrics
from tvm_c4n.server.one_by_one import OneByOne, Slots
from tvm_c4n.server.scheduler import Scheduler


@dataclass(frozen=True)
class Served:
    """A model that requests may name.

    Attributes
    ----------
    name : str
        The name of its folder.
    lane : Lane
    tokenizer : TextTokenizer
    template : ChatTemplate, optional
    vocabulary : int
        Number of tokens that the model knows.
    context : int, optional
        Tokens of the longest text; None: any.
    together : bool
        Whether its answers share each step; else they take turns.
    known : KnownTexts
        Of its chats.
    created : int
        When it was loaded, in seconds since 1970.
    """

    name: str
    lane: Lane
    tokenizer: TextTokenizer
    template: ChatTemplate | None
    vocabulary: int
    context: int | None
    together: bool
    known: KnownTexts = field(default_factory=KnownTexts)
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass(frozen=True)
class Service:
    """A server without its sockets.

    Attributes
    ----------
    models : mapping of str to Served
        By name; the first one is taken where a request names none.
    """

    models: Mapping[str, Served]
    scheduler: Scheduler
    limits: Limits
    metrics: Metrics
    admission: Admission
    chats: ChatTexts

    def model(self, name: str | None) -> Served:
        """Return the model that a request names.

        Raises
        ------
        ApiError
            404: there is none of that name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise ApiError(
                404,
                f"no model {shown(name)}: this server has {known}",
                param="model",
                code="model_not_found",
            )
        return self.models[name]


def model_names(artifacts: list[Path]) -> list[str]:
    """Return the names under which artifacts are served: those of their folders.

    Raises
    ------
    C4nError
        Two have the same.
    """
    names = [path.resolve().name.removesuffix(".art") for path in artifacts]
    for name in names:
        if names.count(name) > 1:
            raise C4nError(f"two models are called {name}: rename the folder of one")
    return names


def start_service(artifacts: list[Path], *, threads: int | None, limits: Limits) -> Service:
    """Load models, and start the thread that runs them.

    Parameters
    ----------
    artifacts : list of Path
        At least one.
    threads : int, optional
        At most; default: one for each core.
    limits : Limits

    Raises
    ------
    C4nError
        Limits or names that cannot be, a model that is damaged or not for this machine.
    """
    limits.check()
    names = model_names(artifacts)
    metrics, cache = Metrics(), PrefixCache(limits.cache_bytes)

    def make() -> list[Lane]:
        engines = [Engine.load(path, threads=threads) for path in artifacts]
        slots = [slots_of(engine, limits.slots) for engine in engines]
        return [
            Lane(engine, batch, cache, limits, metrics)
            for engine, batch in zip(engines, slots, strict=True)
        ]

    scheduler = Scheduler(make)
    lanes = scheduler.start()
    models = {
        name: _served(name, path, lane)
        for name, path, lane in zip(names, artifacts, lanes, strict=True)
    }
    admission = Admission(len(lanes) * limits.slots + limits.queue)
    for name, text, value in _gauges(scheduler, cache, admission):
        metrics.gauge(name, text, value)
    return Service(models, scheduler, limits, metrics, admission, ChatTexts())


def slots_of(engine: Engine, count: int) -> Slots:
    """Return slots in which an engine's answers are decoded: together, if it was compiled so."""
    return Batch(engine, count) if engine.manifest.batch else OneByOne(engine)


def _served(name: str, path: Path, lane: Lane) -> Served:
    artifact = open_artifact(path)
    template = read_chat_template(path)
    config = artifact.manifest.description()
    return Served(
        name,
        lane,
        artifact.tokenizer(),
        template,
        config.vocab_size,
        config.context,
        bool(artifact.manifest.batch),
    )


def _gauges(
    scheduler: Scheduler, cache: PrefixCache, admission: Admission
) -> list[tuple[str, str, Callable[[], float]]]:
    return [
        ("c4n_answers", "Answers under way or waiting.", lambda: admission.count),
        ("c4n_waiting", "Prompts whose reading has not begun.", lambda: scheduler.waiting),
        ("c4n_decoding", "Answers that have a slot.", lambda: scheduler.decoding),
        ("c4n_cache_bytes", "Bytes of kept states.", lambda: cache.size_bytes),
        ("c4n_cache_states", "Kept states.", lambda: len(cache)),
    ]
