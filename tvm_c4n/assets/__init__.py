"""The embedded models and the texts that calibrate and evaluate it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent
MODELS = ("mamba-19m", "mamba-19m-n2-int4", "mamba-19m-n3-int4", "mamba-19m-s30-int4")
CALIBRATION = ROOT / "calibration.jsonl"
VALID_TEXT = ROOT / "valid.txt"
TASKS = ROOT / "tasks"


def resolve(name_or_path: str | Path) -> Path:
    """Turn the name of an embedded model, or a path, into a path.

    Parameters
    ----------
    name_or_path : str or Path
        One of `MODELS`, or a folder. An existing folder of that name wins over the embedded model.

    Returns
    -------
    Path
        The folder; it is not checked to exist.
    """
    path = Path(name_or_path)
    if not path.exists() and str(name_or_path) in MODELS:
        return ROOT / str(name_or_path)
    return path


def task_file(name_or_path: str | Path) -> Path:
    """Turn the name of an embedded task (``blimp``), or a path, into a path."""
    path = Path(name_or_path)
    embedded = TASKS / f"{name_or_path}.jsonl"
    return embedded if not path.exists() and path.name == str(path) and embedded.exists() else path
