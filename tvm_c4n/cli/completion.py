"""What the Tab key offers in a model's place; the shell adds files where none of it fits."""

from __future__ import annotations


def bundled(incomplete: str) -> list[str]:
    """Return the bundled models whose names begin so, those that this installation has."""
    from tvm_c4n.assets import MODELS, ROOT

    return [name for name in MODELS if name.startswith(incomplete) and (ROOT / name).is_dir()]
