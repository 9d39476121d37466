"""Names of models on a hub: what is taken for one, and what a folder of the hub's cache says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.assets import MODELS

# What a hub's names are made of; its own rules are stricter, and the hub applies them.
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,127}}))?")
# What files and folders of ours end with. No repository does, so such a name is a path.
_ENDINGS = (".art", ".gguf", ".safetensors", ".bin", ".json", ".jsonl", ".txt")
_SNAPSHOTS, _COMMIT = "snapshots", re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubModel:
    """A model on a hub.

    Attributes
    ----------
    repo : str
        ``org/name``.
    revision : str
        Branch, tag or commit.
    """

    repo: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"


def hub_model(model: str | Path) -> HubModel | None:
    """Return what ``org/name`` or ``org/name@revision`` names; None for everything else.

    What is on the disk wins: no hub is asked for a path that exists, nor for one in a folder that
    exists, as a typing mistake leaves it. Neither is it for what begins like a path, ends like one
    of our files, or has more or fewer than two parts.
    """
    found = _NAME.fullmatch(model) if isinstance(model, str) and model not in MODELS else None
    if found is None or found[1].endswith(_ENDINGS):
        return None
    path = Path(str(model))
    if path.exists() or Path(path.parts[0]).exists():
        return None
    return HubModel(found[1], found[2] or "main")


def origin_of(folder: Path) -> HubModel | None:
    """Return the model and the commit that a folder of the hub's cache holds; None for others."""
    home = folder.resolve()
    kind, *parts = home.parent.parent.name.split("--")
    in_cache = home.parent.name == _SNAPSHOTS and kind == "models" and len(parts) == 2
    if not in_cache or not _COMMIT.fullmatch(home.name):
        return None
    repo = "/".join(parts)
    return HubModel(repo, home.name) if _NAME.fullmatch(repo) else None


def name_of(folder: Path) -> str:
    """Return the name of the model in a folder: the folder's own, or the hub's."""
    origin = origin_of(folder)
    return folder.resolve().name if origin is None else origin.repo.partition("/")[2]
