"""The embedded models and the texts that calibrate and evaluate it."""

from __future__ import annotations

from pathlib import Path

from tvm_c4n.errors import CheckpointError

ROOT = Path(__file__).parent
MODELS = (
    "mamba-19m", "mamba-19m-mixed", "mamba-19m-n2-int4", "mamba-19m-n3-int4", "mamba-19m-s30-int4",
    "granite-h-20m", "granite-h-20m-s30-int4",
)  # fmt: skip
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
        The folder; a path is not checked to exist.

    Raises
    ------
    CheckpointError
        An embedded model that this installation lacks.
    """
    path = Path(name_or_path)
    if path.exists() or str(name_or_path) not in MODELS:
        return path
    folder = ROOT / str(name_or_path)
    if not folder.is_dir():  # the wheel leaves it out, see pyproject.toml
        raise CheckpointError(
            f"{name_or_path}: comes with the repository, not with the wheel; "
            "install from a clone: pip install -e ."
        )
    return folder


def task_file(name_or_path: str | Path) -> Path:
    """Turn the name of an embedded task (``blimp``), or a path, into a path."""
    path = Path(name_or_path)
    embedded = TASKS / f"{name_or_path}.jsonl"
    return embedded if not path.exists() and path.name == str(path) and embedded.exists() else path
