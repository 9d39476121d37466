"""What a run keeps on disk, so that one that was killed resumes after its last whole layer.

A resume folder has `run.json` (what the layers were pruned from and how), results that were asked
to be remembered (`NAME.safetensors`), for each finished layer its stored weights and report, and
the activations behind the last one. Every file appears whole, in this order, so that a kill at any
moment leaves a folder to resume from; each but the first has a checksum.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from tvm_c4n._version import __version__
from tvm_c4n.checkpoint.files import LEFTOVERS, os_errors, write_atomically
from tvm_c4n.checkpoint.manifest import WeightEntry
from tvm_c4n.checkpoint.reading import read_text
from tvm_c4n.checkpoint.state_file import read_state, write_state
from tvm_c4n.errors import RecipeError
from tvm_c4n.progress import FINISHED_BEFORE
from tvm_c4n.pruning.layerwise import Activations, LayerwisePruner, PrunedLayer
from tvm_c4n.pruning.report import LayerRepair, ProjectionReport
from tvm_c4n.pruning.session import Session
from tvm_c4n.pruning.steps import StepCounter

RUN = "run.json"
# Counts changes of the folder's files; a folder of another number is refused like another run's.
FORMAT = 6
# Of run.json: some kB.
MAX_NOTE_BYTES = 64 << 20
_REMOVE = "remove the folder"


class Store(Protocol):
    """Where a run keeps what takes long."""

    def json(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return what ``compute`` gives, as JSON gives it back; read if it was kept before."""

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what ``compute`` gives, or what it gave before."""

    def finished(self) -> int:
        """Return how many layers are finished."""

    def layer(self, index: int) -> PrunedLayer:
        """Read a finished layer; only the last one has its activations."""

    def keep(self, layer: PrunedLayer) -> None:
        """Keep a finished layer."""

    def remove(self) -> None:
        """Forget everything: the run is done."""


class NothingKept:
    """The `Store` of a run that cannot be resumed."""

    def json(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return what ``compute`` gives."""
        return compute()

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what ``compute`` gives."""
        return compute()

    def finished(self) -> int:
        """Return 0."""
        return 0

    def layer(self, index: int) -> PrunedLayer:
        """Raise LookupError: there is none."""
        raise LookupError(index)

    def keep(self, layer: PrunedLayer) -> None:
        """Forget the layer."""

    def remove(self) -> None:
        """Do nothing."""


def resumed(pruner: LayerwisePruner, store: Store, note: StepCounter) -> Iterator[PrunedLayer]:
    """Yield all layers of a pruner: the finished ones from a store, the others as they are pruned.

    Each layer that is pruned is kept in the store before it is yielded.
    """
    finished = store.finished()
    activations = None
    for index in range(finished):
        layer = store.layer(index)
        activations = layer.activations
        note(f"layer {index} {FINISHED_BEFORE}", len(layer.weights) + pruner.repairs)
        yield layer
    for layer in pruner.layers(finished, activations):
        store.keep(layer)
        yield layer


class ResumeFolder:
    """A `Store` in a folder.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    run : mapping
        From `fingerprint`.

    Raises
    ------
    RecipeError
        The folder holds the layers of another run, or something else.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(run, indent=1, sort_keys=True)
        with os_errors(folder, "write"):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(folder / RUN):
                if any(not file.match(LEFTOVERS) for file in folder.iterdir()):
                    raise RecipeError(f"{folder}: holds other files; give an empty or a new folder")
                write_atomically(folder / RUN, text)
            elif read_text(folder / RUN, MAX_NOTE_BYTES, _REMOVE) != text:
                raise RecipeError(
                    f"{folder}: holds the layers of another model, recipe, budget, calibration or "
                    "device; "
                    "give another folder, or remove this one"
                )

    def json(self, name: str, compute: Callable[[], Any]) -> Any:
        """Read ``NAME.safetensors``, or compute and write it."""
        path = self._path(name)
        if not os.path.lexists(path):
            write_state(path, {}, {"content": json.dumps(compute())})
        return json.loads(read_state(path, _REMOVE)[1]["content"])

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read ``NAME.safetensors``, or compute and write it."""
        if not os.path.lexists(self._path(name)):
            computed = compute()
            self._save(name, computed)
            return computed
        return _tensors(self._load(name)[0])

    def keep(self, layer: PrunedLayer) -> None:
        """Write a layer, then the activations behind it in place of those before it."""
        tensors: dict[str, Tensor] = {}
        about = {}
        for name, weight in layer.weights.items():
            entry = WeightEntry.of(weight)
            about[name] = entry.model_dump()
            arrays = entry.arrays(name, weight).items()
            tensors |= {tensor: torch.from_numpy(array) for tensor, array in arrays}
        metadata = {
            "weights": json.dumps(about),
            "reports": json.dumps([report.model_dump() for report in layer.reports]),
            "trained": json.dumps(list(layer.tensors)),
            "repair": json.dumps(layer.repair and layer.repair.model_dump()),
        }
        tensors |= layer.tensors
        self._save(f"layer-{layer.index:04d}", tensors, metadata)
        sides = layer.activations._asdict().items()
        hidden = {f"{side}.{i:06d}": v for side, values in sides for i, v in enumerate(values)}
        self._save(f"activations-{layer.index:04d}", hidden)
        self._path(f"activations-{layer.index - 1:04d}").unlink(missing_ok=True)

    def finished(self) -> int:
        """Return how many layers are finished."""
        names = (re.fullmatch(r"activations-(\d{4,9})", f.stem) for f in self.folder.iterdir())
        return max((int(name[1]) + 1 for name in names if name), default=0)

    def layer(self, index: int) -> PrunedLayer:
        """Read a finished layer."""
        name = f"layer-{index:04d}"
        stored, metadata = self._load(name)
        reports = [ProjectionReport.model_validate(r) for r in json.loads(metadata["reports"])]
        weights = {
            key: WeightEntry(**entry).weight(key, stored.__getitem__)
            for key, entry in json.loads(metadata["weights"]).items()
        }
        trained = {name: torch.from_numpy(stored[name]) for name in json.loads(metadata["trained"])}
        repaired = json.loads(metadata["repair"])
        activations = Activations([], [])
        if index == self.finished() - 1:
            hidden = _tensors(self._load(f"activations-{index:04d}")[0])
            sides = (
                [hidden[k] for k in sorted(hidden) if k.startswith(s)] for s in activations._fields
            )
            activations = Activations(*sides)
        repair = LayerRepair.model_validate(repaired) if repaired else None
        return PrunedLayer(index, weights, reports, activations, trained, repair)

    def remove(self) -> None:
        """Remove the folder and what it holds of this run: the run is done."""
        for pattern in ("*.safetensors", "*.json", LEFTOVERS):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        if next(self.folder.iterdir(), None) is None:
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _save(
        self, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
    ) -> None:
        arrays = {key: value.cpu().numpy() for key, value in tensors.items()}
        write_state(self._path(name), arrays, metadata or {})

    def _load(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        return read_state(self._path(name), _REMOVE)


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def fingerprint(session: Session, budget: Any = None) -> dict[str, Any]:
    """Describe what makes two runs give the same layers.

    Parameters
    ----------
    session : Session
    budget : Budget, optional
        Anything whose ``repr`` says all that counts.
    """
    files = sorted(session.checkpoint.path.glob("*.safetensors"))
    return {
        "format": FORMAT,
        "version": __version__,
        "recipe": session.recipe.model_dump(mode="json"),
        "budget": None if budget is None else repr(budget),
        "config": session.checkpoint.config,
        "files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files},
        "windows": sha256(torch.cat([session.windows, session.more]).numpy().tobytes()).hexdigest(),
        "device": session.device.type,
    }
