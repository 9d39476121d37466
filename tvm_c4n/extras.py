"""Optional dependencies: what each extra brings, and what is said where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from tvm_c4n.errors import C4nError

# By extra of pyproject.toml: the modules that are imported with it.
EXTRAS: dict[str, tuple[str, ...]] = {
    "prune": ("torch", "scipy"),
    "tune": ("cloudpickle", "psutil", "tornado", "xgboost"),
    "serve": ("h11", "prometheus_client", "starlette", "uvicorn"),
    "hub": ("huggingface_hub",),
    "gguf": ("gguf",),
    "bench": ("matplotlib", "gguf"),
    "link": ("ziglang",),
    "lm-eval": ("lm_eval",),
}


def require(extra: str, what: str) -> None:
    """Check that an extra is installed, before work starts that would end without it.

    Nothing is imported: a module that is there but takes seconds to load costs nothing here.

    Parameters
    ----------
    extra : str
        One of `EXTRAS`.
    what : str
        What needs it, for the message: ``"pruning"``.

    Raises
    ------
    C4nError
        A module of the extra is missing.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise C4nError(f"{what} needs {' and '.join(missing)}: {pip_command(extra)}")


def pip_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'tvm-c4n[{extra}]'"
