"""What a model folder or an artifact holds: pattern, dtype and bytes, per kind of weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tvm_c4n.checkpoint import C4nCheckpoint, Checkpoint, HfCheckpoint, open_checkpoint
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.artifact import is_artifact, open_artifact
from tvm_c4n.runtime.manifest import Manifest, Projection
from tvm_c4n.sparsity import SCALE_GROUP, Removed, count_removed, detect_removed, size_bytes

Kind = Literal["Hugging Face folder", "C4n folder", "artifact"]
_STORED = {"F16": "float16", "F32": "float32", "BF16": "bfloat16"}
_DENSE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass
class WeightKind:
    """All weights of one kind.

    Attributes
    ----------
    kind : str
        Name of the projection, ``"embeddings"`` or ``"lm_head"``.
    count : int
        How many there are.
    removed : dict of int to int
        By n of every 4: how many weights have that pattern; how many of their matrices, where these
        differ within a weight.
    dtypes : set of str
    scale_groups : set of int
        Dense columns that share a scale; 0 where there are none.
    size_bytes : int
        As stored: zeros count in a Hugging Face folder, which keeps them.
    """

    kind: str
    count: int = 0
    removed: dict[int, int] = field(default_factory=dict)
    dtypes: set[str] = field(default_factory=set)
    scale_groups: set[int] = field(default_factory=set)
    size_bytes: int = 0

    def add(self, weight: Projection, stored_bytes: int) -> None:
        """Count one weight."""
        self.count += 1
        self.dtypes.add(weight.dtype)
        self.scale_groups.add(weight.scale_group)
        self.size_bytes += stored_bytes


@dataclass(frozen=True)
class ModelSummary:
    """What `summarize` found.

    Attributes
    ----------
    path : Path
    kind : str
    config : ModelConfig
    weights : list of WeightKind
    each : dict of str to (Projection, int)
        What each weight is, by the name of its tensor, and its bytes.
    size_bytes : int
        All tensors: as stored, of an artifact as repacked.
    made_for : str
        What an artifact runs on; empty for other folders.
    """

    path: Path
    kind: Kind
    config: ModelConfig
    weights: list[WeightKind]
    each: dict[str, tuple[Projection, int]]
    size_bytes: int
    made_for: str = ""


def summarize(model: str | Path, *, progress: Progress | None = None) -> ModelSummary:
    """Summarize the weights of a folder.

    The pattern of a C4n folder and of an artifact is what they declare. A Hugging Face folder
    declares none: its weights are read, and the pattern is what their zeros show.

    Parameters
    ----------
    model : str or Path
        Artifact, Hugging Face folder, C4n folder, the name of an embedded model, or
        ``org/name`` of a hub.
    progress : callable, optional
        ``progress(tensor, done, total)`` after each weight that is read.

    Raises
    ------
    C4nError
        Nothing of the kind, or damaged.
    """
    path = Path(model)
    if is_artifact(path):
        artifact = open_artifact(path)
        artifact.verify()
        manifest = artifact.manifest
        config = manifest.description()
        made_for = f"{manifest.target} ({manifest.triple}, {manifest.isa}, tvm {manifest.tvm})"
        each = dict(_declared(manifest))
        weights = _by_kind(config, each)
        return ModelSummary(
            path, "artifact", config, weights, each, manifest.weight_bytes, made_for
        )
    checkpoint = open_checkpoint(model, progress)
    config = describe_model(checkpoint.config)
    check_tensors(config, checkpoint)
    load_tokenizer(checkpoint.path, checkpoint.config)  # or the model could not be run
    kind: Kind = "C4n folder" if isinstance(checkpoint, C4nCheckpoint) else "Hugging Face folder"
    each = dict(_weights(checkpoint, config, progress))
    weights = _by_kind(config, each)
    return ModelSummary(path, kind, config, weights, each, checkpoint.size_bytes)


def _weights(
    checkpoint: Checkpoint,
    config: ModelConfig,
    progress: Progress | None,
) -> Iterator[tuple[str, tuple[Projection, int]]]:
    names = config.weights()
    for done, name in enumerate(names):
        if progress is not None:
            progress(name, done, len(names))
        yield name, _weight(checkpoint, name)
    if progress is not None:
        progress("read", len(names), len(names))


def _weight(checkpoint: Checkpoint, name: str) -> tuple[Projection, int]:
    """Describe one weight of a checkpoint, and its bytes as stored."""
    rows, cols = checkpoint.shape(name)
    removed: Removed = 0
    dtype, group = "float32", 0
    if (weight := checkpoint.weight(name)) is not None:
        removed, dtype, group = weight.removed, weight.dtype, weight.scale_group
        stored_bytes = weight.size_bytes
    else:
        if isinstance(checkpoint, HfCheckpoint):
            dtype = _STORED.get(checkpoint.dtype(name), checkpoint.dtype(name))
        removed = detect_removed(checkpoint.dense(name))
        stored_bytes = rows * cols * _DENSE_BYTES.get(dtype, 4)
    found = Projection(rows=rows, cols=cols, removed=removed, dtype=dtype, scale_group=group)
    return found, stored_bytes


def _declared(manifest: Manifest) -> Iterator[tuple[str, tuple[Projection, int]]]:
    for name, weight in manifest.projections.items():
        group = weight.scale_group or SCALE_GROUP
        size = size_bytes(weight.rows, weight.cols, weight.removed, weight.dtype, group)
        yield name, (weight, size)


def _by_kind(config: ModelConfig, weights: dict[str, tuple[Projection, int]]) -> list[WeightKind]:
    kinds, found = config.kinds(), dict[str, WeightKind]()
    for name, (weight, size) in weights.items():
        kind = kinds[name]
        found.setdefault(kind, WeightKind(kind)).add(weight, size)
    for kind, summary in found.items():
        own = (weight.removed for name, (weight, _) in weights.items() if kinds[name] == kind)
        summary.removed = count_removed(own)
    return list(found.values())
