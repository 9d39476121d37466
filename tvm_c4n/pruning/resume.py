"""Finished layers of a run on disk, so that a run that was killed goes on after them.

A journal is a folder with `run.json` (what the layers were pruned from and how), for a budget
`sensitivities.json`, `analysis.safetensors` (the orders of channels and weights of tokens), for
each finished layer its stored weights and report rows, and the activations after the last one.
Every file is written beside its place and renamed, in this order, so that a kill at any moment
leaves a journal that resumes after the last whole layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tvm_c4n import __version__
from tvm_c4n.checkpoint import Checkpoint
from tvm_c4n.checkpoint.files import (
    LEFTOVERS,
    atomic_output,
    os_errors,
    write_atomically,
)
from tvm_c4n.errors import C4nError, RecipeError
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity
from tvm_c4n.pruning.calibration.analysis import Analysis
from tvm_c4n.pruning.calibration.stream import Stream
from tvm_c4n.pruning.recipe import Choice, Recipe
from tvm_c4n.pruning.report import ProjectionReport
from tvm_c4n.sparsity import C4nWeight

RUN = "run.json"
SENSITIVITIES = "sensitivities.json"
_PARTS = ("values", "positions", "scales")


def fingerprint(
    checkpoint: Checkpoint, recipe: Recipe, windows: Tensor, budget: Budget | None = None
) -> dict[str, Any]:
    """Describe what makes two runs give the same layers."""
    files = sorted(checkpoint.path.glob("*.safetensors"))
    return {
        "version": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "budget": budget and [budget.kind, budget.value, repr(budget.table)],
        "config": checkpoint.config,
        "files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files},
        "windows": sha256(windows.numpy().tobytes()).hexdigest(),
    }


class Journal:
    """The journal of one run.

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
            if not (folder / RUN).exists():
                if any(not file.match(LEFTOVERS) for file in folder.iterdir()):
                    raise RecipeError(f"{folder}: holds other files; give an empty or a new folder")
                write_atomically(folder / RUN, text)
            elif (folder / RUN).read_text(encoding="utf-8") != text:
                raise RecipeError(
                    f"{folder}: holds the layers of another model, recipe, budget or calibration; "
                    "give another folder, or remove this one"
                )

    def sensitivities(self) -> dict[str, Sensitivity] | None:
        """Read the sensitivities that a budget is met by; None if they were not measured."""
        path = self.folder / SENSITIVITIES
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: Sensitivity(tuple(n), rounding) for name, (n, rounding) in found.items()}

    def keep_sensitivities(self, found: Mapping[str, Sensitivity]) -> None:
        """Write the sensitivities."""
        text = json.dumps({name: [s.removal, s.rounding] for name, s in found.items()})
        write_atomically(self.folder / SENSITIVITIES, text)

    def analysis(self) -> Analysis | None:
        """Read what the analysis found; None if it was not finished."""
        stored = self._load("analysis")
        if stored is None:
            return None
        inner = {int(k[6:]): v for k, v in stored.items() if k.startswith("inner.")}
        weights = [stored[f"weights.{i}"] for i in range(len(stored)) if f"weights.{i}" in stored]
        return Analysis(stored.get("hidden"), inner, weights or None)

    def keep_analysis(self, found: Analysis) -> None:
        """Write what the analysis found."""
        tensors = {f"inner.{layer}": order for layer, order in found.inner.items()}
        tensors |= {f"weights.{i}": w for i, w in enumerate(found.token_weights or [])}
        if found.hidden is not None:
            tensors["hidden"] = found.hidden
        self._save("analysis", tensors)

    def keep_layer(
        self,
        index: int,
        weights: Mapping[str, C4nWeight],
        rows: Sequence[ProjectionReport],
        students: Sequence[Stream],
        teachers: Sequence[Stream],
    ) -> None:
        """Write a finished layer and the activations behind it."""
        tensors = {
            f"{name}.{part}": torch.from_numpy(getattr(weight, part))
            for name, weight in weights.items()
            for part in _PARTS
            if getattr(weight, part) is not None
        }
        about = json.dumps([row.model_dump() for row in rows])
        self._save(f"layer-{index:04d}", tensors, {"rows": about})
        hidden = {f"student.{i}": stream.hidden for i, stream in enumerate(students)}
        hidden |= {f"teacher.{i}": stream.hidden for i, stream in enumerate(teachers)}
        self._save(f"activations-{index:04d}", hidden)
        (self.folder / f"activations-{index - 1:04d}.safetensors").unlink(missing_ok=True)

    def finished(self) -> int:
        """Return how many layers are finished."""
        behind = sorted(self.folder.glob("activations-*.safetensors"))
        return int(behind[-1].stem[-4:]) + 1 if behind else 0

    def restore(self, students: Sequence[Stream], teachers: Sequence[Stream]) -> None:
        """Put streams behind the last finished layer."""
        stored = self._load(f"activations-{self.finished() - 1:04d}") or {}
        for kind, streams in (("student", students), ("teacher", teachers)):
            for i, stream in enumerate(streams):
                stream.hidden = stored[f"{kind}.{i}"]

    def layer(
        self,
        index: int,
        plan: Mapping[str, Choice],
        recipe: Recipe,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> tuple[dict[str, C4nWeight], list[ProjectionReport]]:
        """Read a finished layer: its packed weights by name, and its report rows."""
        stored = self._load(f"layer-{index:04d}") or {}
        about = json.loads(self._metadata(f"layer-{index:04d}")["rows"])
        rows = [ProjectionReport.model_validate(row) for row in about]
        weights = {}
        for row in rows:
            choice = plan[row.name]
            parts = {
                p: v.numpy() for p in _PARTS if (v := stored.get(f"{row.name}.{p}")) is not None
            }
            group = recipe.group_of(choice.removed) if choice.dtype.startswith("int") else 0
            height, width = shapes[row.name]
            weights[row.name] = C4nWeight(
                height, width, choice.removed, choice.dtype, group, **parts
            )
        return weights, rows

    def remove(self) -> None:
        """Remove the journal: the run is done."""
        files = (self.folder / SENSITIVITIES, self.folder / RUN, *self.folder.glob(LEFTOVERS))
        for file in (*self.folder.glob("*.safetensors"), *files):
            file.unlink(missing_ok=True)
        if next(self.folder.iterdir(), None) is None:
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _save(
        self, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
    ) -> None:
        whole = {key: value.contiguous() for key, value in tensors.items()}
        with atomic_output(self._path(name)) as temporary:
            save_file(whole, temporary, metadata=metadata)

    def _load(self, name: str) -> dict[str, Tensor] | None:
        path = self._path(name)
        if not path.exists():
            return None
        try:
            found: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise C4nError(f"{path}: damaged ({error}); remove the folder") from None
        return found

    def _metadata(self, name: str) -> dict[str, str]:
        from safetensors import safe_open

        with safe_open(self._path(name), framework="pt") as file:
            return dict(file.metadata() or {})
